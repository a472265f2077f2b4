"""Configs of the training of heads; this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_store.errors import require_at_least, require_choices, require_positive


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How the head is trained."""

    tolerance: float = 1e-6
    """Stop when no component of the gradient for standardised channels (nats) is larger."""
    max_passes: int = 1000
    """L-BFGS iterations after which the head counts as not converged."""
    precision: Literal["float32", "float64"] = "float64"
    """Type of the last passes' products; sums over blocks are float64."""
    memory_mb: int = 256
    """Rows up to this size stay in memory; larger ones are read again in every pass."""
    device: str = "cpu"
    """Torch device for the products."""

    def __post_init__(self) -> None:
        require_positive(self, "tolerance")
        require_at_least(self, max_passes=1, memory_mb=0)
        require_choices(self)


@dataclass(frozen=True, kw_only=True)
class MinibatchConfig:
    """Epochs, learning rate and batch size are those of Shi et al. (2024), appendix A."""

    epochs: int = 30
    """Passes over the training images."""
    learning_rate: float = 5e-4
    """Constant; the paper names no schedule."""
    batch: int = 512
    """Images per step."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of the paper's recipe; the paper names none. sgd has momentum 0.9."""
    device: str = "cpu"
    """Torch device of the head's products."""

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "batch", "learning_rate")
        require_choices(self)
