"""Options of a model and its training. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from feature_store.errors import (
    InputError,
    require_at_least,
    require_choices,
    require_positive,
)
from workbench.models.info import Arithmetic

Stage = Literal["projector", "lora", "full"]
Recipe = Literal["small", "llava-1.5"]


@dataclass(frozen=True, kw_only=True)
class VlmConfig:
    """A vision-language model and its training. Values left at None are the recipe's."""

    llm: str = "bundled:smollm2_135m"
    """Language model: bundled:NAME, gguf:FILE, or hf:NAME (a hub name, or a folder)."""
    stage: Stage = "projector"
    """Parts to train: the projector alone, with low-rank adapters (lora), or with all weights of
    the language model (full)."""
    recipe: Recipe = "small"
    """Values of the options left out: small (minutes on two cores) or llava-1.5 (as published)."""
    projector: Literal["linear", "mlp2x_gelu", "mlp_downsample"] | None = None
    """From tokens to word embeddings: one layer, two layers, or two layers on 2 x 2 tokens side by
    side."""
    init: Literal["random", "ridge"] = "random"
    """Start of the projector: random, as published; or its last layer solved in closed form from
    the mean token of an image to the embeddings of the words in its answers."""
    epochs: float = 1.0
    """Passes over the conversations."""
    batch: int | None = None
    """Conversations per step, over all processes that train together."""
    together: int | None = None
    """Conversations in memory at a time in each process; by default its share of the batch."""
    learning_rate: float | None = None
    """Peak learning rate of AdamW, after warm-up over 3 % of the steps; then a cosine to 0."""
    projector_rate: float | None = None
    """Peak learning rate of the projector when the language model is trained as well."""
    rank: int | None = None
    """Rank of the low-rank adapters; their alpha is twice as large."""
    length: int = 2048
    """Largest number of image and text tokens in a conversation; longer ones are split between
    questions."""
    turns: int | None = None
    """Largest number of questions in one conversation: 16 with small, no limit with llava-1.5."""
    blind: bool = False
    """Give every conversation the image of another one, in training and evaluation, to measure how
    far the questions alone lead."""
    arithmetic: Arithmetic | None = None
    """Arithmetic of the forward pass; by default fp32 on a CPU, where products in bf16 take fifty
    times as long if the processor has no instructions for them, and bf16 elsewhere."""
    device: str = "cpu"
    """Torch device of the language model; cuda, with torchrun, is one GPU per process."""

    def __post_init__(self) -> None:
        require_choices(self)
        if self.device.partition(":")[0] in ("auto", "meta"):
            raise InputError(f"device is {self.device!r}; name cpu, cuda or cuda:1")
        if self.arithmetic == "fp16":
            raise InputError("arithmetic fp16 has too small a range for training; choose bf16")
        require_at_least(self, batch=1, together=1, rank=1, length=16, turns=1)
        require_positive(self, "epochs", "learning_rate", "projector_rate")

    def resolved(self) -> VlmConfig:
        """With the recipe's values in place of None.

        Raises
        ------
        InputError
            A rank or a projector's rate that the stage does not use.
        """
        found = RECIPES[self.recipe][self.stage]
        for name, stages in USED.items():
            value = getattr(self, name)
            if self.stage not in stages and value not in (None, found.get(name)):
                raise InputError(
                    f"--{name.replace('_', '-')} is {value}, which --stage {self.stage} does not "
                    f"use; leave it out, or choose --stage {' or '.join(stages)}"
                )
        empty = {f.name for f in fields(self) if getattr(self, f.name) is None}
        found = found | {"arithmetic": "fp32" if self.device == "cpu" else "bf16"}
        return replace(self, **{name: value for name, value in found.items() if name in empty})


def check_batch(config: VlmConfig, processes: int) -> None:
    """Refuse (InputError) a resolved config whose batch does not divide into equal shares."""
    assert config.batch is not None
    if config.batch % processes:
        raise InputError(
            f"--batch is {config.batch} for {processes} processes; expected a multiple of "
            f"{processes}, so that each takes as many conversations: choose another batch or "
            f"number of processes"
        )


USED: dict[str, tuple[Stage, ...]] = {"rank": ("lora",), "projector_rate": ("lora", "full")}
"""Option to the stages that use it."""
_SMALL = {"projector": "linear", "batch": 8, "turns": 16}
_LLAVA = {"projector": "mlp2x_gelu", "rank": 128, "projector_rate": 2e-5, "turns": None}
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "projector": _SMALL | {"learning_rate": 1e-3},
        "lora": _SMALL | {"learning_rate": 5e-4, "projector_rate": 5e-4, "rank": 16},
        "full": _SMALL | {"learning_rate": 5e-5, "projector_rate": 5e-4},
    },
    "llava-1.5": {
        "projector": _LLAVA | {"batch": 256, "learning_rate": 1e-3},
        "lora": _LLAVA | {"batch": 128, "learning_rate": 2e-4},
        "full": _LLAVA | {"batch": 128, "learning_rate": 2e-5},
    },
}
"""Recipe to stage to values. Source of llava-1.5: ``pretrain.sh``, ``finetune_lora.sh`` and
``finetune.sh`` of haotian-liu/LLaVA, ``scripts/v1_5``: weight decay 0, warm-up 0.03, cosine, length
2048, bf16; LoRA alpha 256 at rank 128; with all weights the projector trains at 2e-5 as well;
conversations of any number of turns (None). Its rank and projector's rate are recorded with every
stage, also where :data:`USED` has them unused."""
WARM_UP = 0.03
"""Share of the steps over which the learning rate rises. Source: as :data:`RECIPES`."""
