"""Which decoder is trained and how large it is; in a module that is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from feature_store.errors import InputError, require_at_least, require_choices

HeadName = Literal["linear", "mask2former", "upernet", "dpt", "vpd"]

TASKS = {"segmentation": ("linear", "mask2former", "upernet"), "depth": ("linear", "dpt", "vpd")}
"""Task to its heads."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder and its optimiser. The defaults are small: minutes on two cores, no paper's."""

    head: HeadName = "linear"
    """What is trained on the tokens: ``linear``, in closed form or to convergence; or a decoder."""
    hidden: int = 128
    """Channels inside the decoder."""
    layers: int = 2
    """Layers of each of Mask2Former's two decoders."""
    queries: int = 32
    """Masks that Mask2Former proposes."""
    points: int = 2048
    """Points at which Mask2Former compares masks; 12544 as published."""
    stride: int = 8
    """Pixels between neighbours of the decoder's finest map; 4 as published."""
    batch: int = 8
    """Images per step."""
    learning_rate: float = 1e-3
    """Peak of AdamW's; 50 steps of warm-up, then polynomial decay of power 0.9."""
    weight_decay: float = 0.05
    """Of AdamW."""
    max_depth: float | None = None
    """Largest depth that a decoder can predict, in metres; by default 1.2 times the largest of the
    training maps."""
    device: str = "cpu"
    """Torch device of the decoder."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, hidden=32, layers=1, queries=1, points=1, stride=1, batch=1)
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.hidden % 32:
            raise InputError(f"hidden must be a multiple of 32, got {self.hidden}")
        if self.head == "upernet" and self.batch < 2:
            raise InputError("upernet normalises over a batch: batch must be at least 2, got 1")
        if self.max_depth is not None and self.max_depth <= 0:
            raise InputError(f"max_depth must be positive, got {self.max_depth}")

    def check_task(self, task: str) -> None:
        """Refuse a head that is not one of the task's, or whose package is not installed."""
        if self.head not in TASKS[task]:
            raise InputError(
                f"head {self.head} does not fit --dense {task}; choose {', '.join(TASKS[task])}"
            )
        if task == "segmentation" and self.head != "linear" and find_spec("transformers") is None:
            raise InputError(
                f"head {self.head} needs the package transformers; pip install "
                f"'s2-workbench[decoders]'"
            )
