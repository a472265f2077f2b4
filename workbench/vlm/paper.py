"""What a training of the paper's size takes, from shapes: memory of each GPU, disk, GPU hours.

Nothing is downloaded: encoders are built on the meta device, and language models enter by their
published sizes. Each GPU holds the whole model, whatever their number (data parallelism):

    weights      2 bytes per frozen parameter (bfloat16), 6 per trained one (float32, and the copy
                 in bfloat16 that products are taken with)
    gradients    4 bytes per trained parameter
    optimiser    8 bytes per trained parameter (AdamW's two moments)
    activations  examples in memory x tokens x layers x width x :data:`ACTIVATIONS`

A part of a batch is as long as its longest conversation, so that the peak is that of conversations
of the largest length. LLaVA-1.5 has 558 K captions and 665 K conversations. These are examples:
pictures repeat among the conversations, and some have none, so that bytes and hours of encoding
once are upper bounds. Hours of encoding in every step are LLaVA's, which encodes the picture of
each example, and a blank one for examples without.

A recipe holds the options of ``workbench vlm train`` for one training of Tables 1, 8 and 9. Recipes
belong to a checkout, not to the package.

Source: haotian-liu/LLaVA ``scripts/v1_5`` and ``llava/train/train.py``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch

from feature_store import Source
from feature_store.errors import InputError
from workbench import arguments, code_hash
from workbench.cost import Cost, cost
from workbench.cost.hours import TFLOPS, gpu_hours
from workbench.options import options_of
from workbench.vlm.config import Stage, VlmConfig
from workbench.vlm.projector import Projector

RECIPES = code_hash.ROOT / "scripts/slurm/recipes/vlm"
EXAMPLES = 558_000 + 665_000
"""Examples of both stages of LLaVA-1.5."""
ACTIVATIONS: dict[Stage, int] = {"projector": 32, "lora": 59, "full": 56}
"""Stage to the bytes that a Llama-like model keeps for its backward pass, per token, layer and
channel. Counted on the tensors that autograd saves, with attention that does not store its matrix;
adapters keep an input of their own, and the mask of their dropout, for every layer they adapt."""
GPUS_GB = (80, 141, 180)
"""Memory of an A100 or H100, an H200 and a B200."""
USABLE = 0.9
"""Share of a GPU's memory that weights and activations may take; the rest is for the scores of the
words, fragments and CUDA itself."""


@dataclass(frozen=True, kw_only=True)
class LanguageSize:
    """Shape of a Llama-like model."""

    layers: int
    width: int
    inner: int
    words: int

    @property
    def params(self) -> int:
        """Weights: embeddings and output layer, attention, gated inner layers."""
        block = 4 * self.width**2 + 3 * self.width * self.inner
        return self.layers * block + 2 * self.words * self.width

    def adapters(self, rank: int) -> int:
        """Weights of adapters on every linear layer of every block."""
        return self.layers * rank * (4 * 2 * self.width + 3 * (self.width + self.inner))


LANGUAGE = {
    "hf:lmsys/vicuna-7b-v1.5": LanguageSize(layers=32, width=4096, inner=11008, words=32000),
    "hf:lmsys/vicuna-13b-v1.5": LanguageSize(layers=40, width=5120, inner=13824, words=32000),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Options of `workbench vlm train` that a recipe may hold."""

    source: str
    """MODEL[#TAP]@SCALE[+SCALE...] whose tokens the projector takes."""
    vlm: Annotated[VlmConfig, options_of(VlmConfig)]


def read(path: Path) -> Recipe:
    """The options in a recipe's file."""
    try:
        return arguments.parse(Recipe, "vlm train", shlex.split(path.read_text("utf-8")))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def estimated(beginnings: Sequence[str] = ("",), *, tflops: float = TFLOPS) -> dict[str, Any]:
    """Estimate the trainings of all recipes whose names have one of these beginnings.

    Returns
    -------
    dict
        ``recipes``, a record of :func:`needs` for each, with its name as ``recipe``; ``encoders``,
        the records of :func:`encoding`; ``tflops``. Both lists are empty without a checkout.
    """
    paths = sorted(RECIPES.glob("*.txt"))
    found = {path.stem: read(path) for path in paths if path.stem.startswith(tuple(beginnings))}
    return {
        "tflops": tflops,
        "recipes": [
            {"recipe": name, **needs(one.source, one.vlm, tflops=tflops)}
            for name, one in found.items()
        ],
        "encoders": encoding([one.source for one in found.values()], tflops=tflops),
    }


def needs(source: str, config: VlmConfig, *, tflops: float = TFLOPS) -> dict[str, Any]:
    """Estimate the memory of a training with LLaVA-1.5's recipe, its tokens and hours of encoding.

    Returns
    -------
    dict
        ``tokens`` per image and ``channels`` per token; ``trained`` parameters; ``weights_gb``,
        ``gradients_gb``, ``optimizer_gb``, ``activations_gb`` and their sum ``peak_gb`` (1e9 bytes
        on each GPU); ``gpu_gb``, the smallest of :data:`GPUS_GB` that holds them, or None;
        ``projector_trained`` and ``projector_peak_gb``, the same of the stage before, which trains
        the projector alone; of both stages ``once_tb``, stored tokens, at most, and
        ``every_step_gpu_hours``, if every step encodes its images.

    Raises
    ------
    InputError
        A language model whose size is not listed here.
    """
    if config.llm not in LANGUAGE:
        raise InputError(
            f"the size of {config.llm} is not known; choose one of {', '.join(LANGUAGE)}"
        )
    counted, asked = _cost(source), config.resolved()
    memory = _memory(asked, counted.channels)
    projector = replace(config, stage="projector", rank=None, projector_rate=None)
    before = _memory(projector.resolved(), counted.channels)
    return {
        "source": source,
        "llm": asked.llm,
        "stage": asked.stage,
        "together": _together(asked),
        "length": asked.length,
        "tokens": counted.tokens,
        "channels": counted.channels,
        **memory,
        "gpu_gb": next((gb for gb in GPUS_GB if memory["peak_gb"] <= USABLE * gb), None),
        **{f"projector_{name}": before[name] for name in ("trained", "peak_gb")},
        "once_tb": EXAMPLES * counted.bytes_per_image / 1e12,
        "every_step_gpu_hours": _hours(counted.gmacs, tflops),
    }


def encoding(sources: Sequence[str], *, tflops: float = TFLOPS) -> list[dict[str, Any]]:
    """Compare encoding once with encoding in every step: a record for each encoder.

    `sources` are those of the trainings, one each. A scale that several of them use is stored once.

    Returns
    -------
    list of dict
        ``encoder`` (MODEL#TAP), ``scales``, ``trainings``; ``once_tb`` and ``once_gpu_hours``, both
        at most, for all trainings together; ``every_step_gpu_hours``, summed over the trainings.
    """
    scales: dict[str, dict[str, dict[str, Any]]] = {}
    gmacs: dict[str, list[float]] = {}
    for name in sources:
        counted = _cost(name)
        encoder = name.partition("@")[0]
        scales.setdefault(encoder, {}).update({row["scale"]: row for row in counted.per_scale})
        gmacs.setdefault(encoder, []).append(counted.gmacs)
    return [
        {
            "encoder": encoder,
            "scales": "+".join(rows),
            "trainings": len(gmacs[encoder]),
            "once_tb": EXAMPLES * sum(row["bytes"] for row in rows.values()) / 1e12,
            "once_gpu_hours": _hours(sum(row["gmacs"] for row in rows.values()), tflops),
            "every_step_gpu_hours": _hours(sum(gmacs[encoder]), tflops),
        }
        for encoder, rows in scales.items()
    ]


def _memory(config: VlmConfig, channels: int) -> dict[str, Any]:
    """Parameters that a stage trains, and its memory on each GPU."""
    size = LANGUAGE[config.llm]
    trained = _trained(config, size, channels)
    frozen = 0 if config.stage == "full" else size.params
    per_token = size.layers * size.width * ACTIVATIONS[config.stage]
    memory = {
        "weights_gb": (2 * frozen + 6 * trained) / 1e9,
        "gradients_gb": 4 * trained / 1e9,
        "optimizer_gb": 8 * trained / 1e9,
        "activations_gb": _together(config) * config.length * per_token / 1e9,
    }
    return {"trained": trained, **memory, "peak_gb": sum(memory.values())}


def _together(config: VlmConfig) -> int:
    return config.together or config.batch or 1


def _trained(config: VlmConfig, size: LanguageSize, channels: int) -> int:
    """Parameters of the projector and of what else the stage trains."""
    with torch.device("meta"):
        projector = Projector(str(config.projector), channels, size.width)
    others = {"projector": 0, "lora": size.adapters(config.rank or 0), "full": size.params}
    return sum(p.numel() for p in projector.parameters()) + others[config.stage]


def _cost(source: str) -> Cost:
    parsed = Source.parse(source)
    return cost(parsed.model, parsed.scales, tap=parsed.tap)


def _hours(gmacs: float, tflops: float) -> float:
    """GPU hours of that many multiply-accumulates for each example."""
    return EXAMPLES * gpu_hours(gmacs, tflops)
