"""Configs of decoders and of the crops they are trained on; this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Literal

from feature_store.errors import (
    InputError,
    require_at_least,
    require_choices,
    require_positive,
)
from workbench.models.info import Arithmetic

HeadName = Literal["linear", "mask2former", "upernet", "dpt", "vpd"]
RecipeName = Literal["ade20k-mask2former", "ade20k-upernet", "nyuv2-vpd"]
"""Published recipes; see :mod:`workbench.heads.recipes`."""

TASKS: dict[str, tuple[HeadName, ...]] = {
    "segmentation": ("linear", "mask2former", "upernet"),
    "depth": ("linear", "dpt", "vpd"),
}
"""Heads of each task."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate of each step as a share of the peak: a linear rise, then polynomial decay."""

    warm_up: int | None = None
    """Steps over which the rate rises; by default 50, or a tenth of all steps if that is fewer."""
    start: float = 0.0
    """Share of the peak at which the rise starts."""
    falls_from: int = 0
    """Steps before the decay starts."""
    level: int = 0
    """Number of last steps, all at the lowest rate."""
    lowest: float = 0.0
    """Share of the peak at which the decay ends."""
    power: float = 0.9
    """Power of the polynomial decay."""

    def share(self, done: int, steps: int) -> float:
        """Share of the peak rate after `done` of `steps` steps.

        Examples
        --------
        >>> rates = Schedule(warm_up=2, falls_from=2, level=1, lowest=0.5, power=1)
        >>> [round(rates.share(done, 6), 2) for done in range(6)]
        [0.5, 1.0, 1.0, 0.83, 0.67, 0.5]
        """
        rises = max(min(50, steps // 10), 1) if self.warm_up is None else max(self.warm_up, 1)
        rise = self.start + (1 - self.start) * min((done + 1) / rises, 1)
        falling = max(steps - self.level - self.falls_from, 1)
        left = min(max(1 - (done - self.falls_from) / falling, 0), 1) ** self.power
        return rise * (self.lowest + (1 - self.lowest) * left)

    def shortened(self, share: float) -> Schedule:
        """This schedule, shortened to a run with this share of the steps."""
        return replace(
            self,
            warm_up=None if self.warm_up is None else round(share * self.warm_up),
            falls_from=round(share * self.falls_from),
            level=round(share * self.level),
        )


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """Training on the fly: the frozen model runs on random crops of the images in each step.

    Each crop is resized to every scale of a source, so all sources see the same crops.
    """

    side: int = 512
    """Side of a crop in pixels."""
    ratios: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest shorter side of the resized image, as multiples of a crop's side."""
    ratio_step: float = 0.0
    """Spacing of the ratios to draw from; 0 draws any ratio between the two."""
    longest: float = 4.0
    """Upper limit on the longer side of the resized image, as a multiple of a crop's side."""
    longest_follows: bool = False
    """Multiply this limit by the ratio drawn."""
    most_of_a_class: float = 1.0
    """Largest share of a crop's known pixels that one class may cover; the tenth draw is accepted
    in any case."""
    colour: bool = True
    """Change brightness, contrast, saturation and hue, each in half of the crops."""
    window: Literal["slide", "whole"] = "slide"
    """Test images: windows of a crop's size slide over the image, whose shorter side is resized to
    theirs; or the whole image is squeezed into one window."""
    window_stride: int | None = None
    """Pixels between sliding windows; two thirds of their side by default."""
    mirrored: bool = False
    """Average the prediction of each window with that of its mirror image."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    workers: int = 0
    """Processes that read and crop images ahead of the steps."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, side=8, window_stride=1, workers=0)
        if not 0 < self.ratios[0] <= self.ratios[1]:
            raise InputError(f"ratios are {self.ratios}; expected two that rise, such as 0.5 2.0")

    @property
    def step(self) -> int:
        """Pixels between sliding windows."""
        return self.window_stride or max(2 * self.side // 3, 1)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder and its optimiser. The defaults are small and train in minutes on two cores."""

    head: HeadName = "linear"
    """Head to train on the tokens: ``linear``, in closed form or to convergence; or a decoder."""
    hidden: int = 128
    """Channels inside the decoder."""
    layers: int = 2
    """Layers of each of Mask2Former's two decoders."""
    masked_layers: int | None = None
    """Layers of the second decoder, if it differs from the first; 9 as published, after 6."""
    feedforward: int | None = None
    """Inner width of the second decoder's layers; 4 x hidden by default, 2048 as published."""
    deconvolved: int | None = None
    """Channels of VPD's deconvolutions; hidden by default, 32 as published."""
    output: int | None = None
    """Channels of VPD's last layers, which work on the enlarged map; half of hidden by default, 192
    as published."""
    queries: int = 32
    """Masks that Mask2Former proposes."""
    points: int = 2048
    """Points at which Mask2Former compares masks; 12544 as published."""
    stride: int = 8
    """Pixels between neighbouring values of the decoder's finest map, before DPT and VPD enlarge
    it; 4 as published."""
    batch: int = 8
    """Images per step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; by default 50 steps of warm-up, then polynomial decay of power
    0.9."""
    schedule: Schedule = field(default_factory=Schedule)
    """Schedule of the learning rate."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    decay_all: bool = True
    """Apply weight decay to all parameters, or else to all but norms, biases and embeddings."""
    max_depth: float | None = None
    """Largest depth that a decoder can predict, in metres; by default 1.2 times the largest depth
    in the training maps."""
    device: str = "cpu"
    """Torch device of the decoder."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, hidden=32, layers=1, queries=1, points=1, stride=1, batch=1)
        require_at_least(self, masked_layers=1, feedforward=1, deconvolved=1, output=1)
        require_positive(self, "learning_rate", "max_depth")
        if self.hidden % 32:
            raise InputError(f"hidden must be a multiple of 32, got {self.hidden}")
        if self.head == "upernet" and self.batch < 2:
            raise InputError("upernet normalises over a batch: batch must be at least 2, got 1")

    def check_task(self, task: str) -> None:
        """Refuse a head that does not fit the task or whose package is not installed."""
        if self.head not in TASKS[task]:
            raise InputError(
                f"head {self.head} does not fit --dense {task}; choose {', '.join(TASKS[task])}"
            )
        if task == "segmentation" and self.head != "linear" and find_spec("transformers") is None:
            raise InputError(
                f"head {self.head} needs the package transformers; run "
                f"'bash scripts/setup.sh decoders' in the clone"
            )
