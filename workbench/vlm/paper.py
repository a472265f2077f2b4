"""The paper's multimodal runs as configs, with estimates of what each needs.

Nothing is downloaded: towers are built on the meta device, and language models enter by their
published sizes. Memory is that of each GPU, whatever their number, because each holds the whole
model (data parallelism): 2 bytes per frozen weight; 18 per trained weight (weight, gradient and
AdamW's two moments in float32, and the copy in bfloat16 that products are taken with).

Source: section 4 and appendix A of the S2 paper; haotian-liu/LLaVA ``scripts/v1_5``; activations by
Korthikanti et al. (2022), "Reducing Activation Recomputation": 34 bytes per token, layer and
channel where attention is not materialised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.cost import cost
from workbench.models import resolve
from workbench.vlm.config import RECIPES, Stage

FRACTION = 0.4
"""Share of a GPU's peak that the forward pass of a ViT reaches."""
PAIRS = {"projector": 558_000, "lora": 665_000, "full": 665_000}
"""Stage to its number of examples in LLaVA-1.5."""
TEXT = {"projector": 32, "lora": 300, "full": 300}
"""Stage to the approximate number of text tokens in an example."""
GPUS_GB = (80, 141)
"""Memory of an A100 or H100, and of an H200."""
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
CLIP = "timm:vit_large_patch14_clip_quickgelu_336.openai"
OPEN = "open_clip:ViT-{}"


@dataclass(frozen=True, kw_only=True)
class PaperRun:
    """One row of Tables 1, 8 or 9."""

    name: str
    model: str
    scales: tuple[str, ...]
    llm: str = "hf:lmsys/vicuna-7b-v1.5"
    stage: Stage = "lora"


_L, _H, _G = (
    OPEN.format(name)
    for name in ("L-14/laion2b_s32b_b82k", "H-14/laion2b_s32b_b79k", "bigG-14/laion2b_s39b_b160k")
)
_13B = "hf:lmsys/vicuna-13b-v1.5"
RAW = ("336", "672.raw", "1008.raw")
RUNS = (
    PaperRun(name="Table 1, 7B", model=CLIP, scales=("336",), stage="full"),
    PaperRun(name="Table 1, 7B-S2", model=CLIP, scales=RAW),
    PaperRun(name="Table 1, 13B", model=CLIP, scales=("336",), llm=_13B, stage="full"),
    PaperRun(name="Table 1, 13B-S2", model=CLIP, scales=RAW, llm=_13B),
    PaperRun(name="Tables 8 and 9, Large", model=_L, scales=("224",)),
    PaperRun(name="Tables 8 and 9, Large 224+448", model=_L, scales=("224", "448")),
    PaperRun(name="Tables 8 and 9, Large 224+448+896", model=_L, scales=("224", "448", "896")),
    PaperRun(name="Tables 8 and 9, Huge", model=_H, scales=("224",)),
    PaperRun(name="Tables 8 and 9, big-G", model=_G, scales=("224",)),
)
"""The third row of Tables 8 and 9 prints 672; its multiply-accumulates are those of 896."""


def needs(run: PaperRun, *, together: int = 4, tflops: float = 400) -> dict[str, Any]:
    """Estimate the memory, disk and GPU hours of a run.

    `together` examples are in memory at a time on each GPU; `tflops` is the peak TFLOP/s of a GPU
    in bfloat16.

    Returns
    -------
    dict
        ``source``; ``tokens`` per image and ``channels`` per token; ``trained`` parameters;
        ``weights_gib`` (with gradients and moments) and ``activations_gib`` per GPU; ``gpu_gb``:
        the smallest of :data:`GPUS_GB` that holds them, or None; ``cached_tib``: stored tokens of
        the images of both stages; ``encode_gpu_hours``: spent once with stored tokens, otherwise in
        every training.
    """
    taps = resolve(run.model, None).taps
    last = max(int(tap.partition(":")[2]) for tap in taps if tap.startswith("block:"))
    tap = f"block:{last - 1}"
    counted = cost(run.model, run.scales, tap=tap)
    size = LANGUAGE[run.llm]
    projector = (counted.channels + 1) * size.width + (size.width + 1) * size.width
    own = RECIPES["llava-1.5"][run.stage].get("rank", 0)
    trained = projector + (size.params if run.stage == "full" else size.adapters(own))
    frozen = 0 if run.stage == "full" else size.params
    length = counted.tokens + TEXT[run.stage]
    images = PAIRS["projector"] + PAIRS[run.stage]
    hours = images * 2e9 * counted.gmacs / (FRACTION * tflops * 1e12) / 3600
    activations = together * length * size.layers * size.width * 34
    weights = 2 * frozen + 18 * trained
    fitting = (gb for gb in GPUS_GB if weights + activations <= USABLE * gb * 1e9)
    return {
        "name": run.name,
        "source": f"{run.model}#{tap}@{'+'.join(run.scales)}",
        "llm": run.llm,
        "stage": run.stage,
        "tokens": counted.tokens,
        "channels": counted.channels,
        "trained": trained,
        "weights_gib": weights / 2**30,
        "activations_gib": activations / 2**30,
        "gpu_gb": next(fitting, None),
        "cached_tib": images * counted.bytes_per_image / 2**40,
        "encode_gpu_hours": hours,
    }
