"""How long a run trains and how often it saves. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.errors import require_at_least, require_positive


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, checkpoints and logs of a run."""

    iterations: int = 1000
    """Optimiser steps."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the last step always has one."""
    keep: int = 2
    """Number of latest checkpoints to keep on disk."""
    log_every: int = 10
    """Steps between rows of metrics.csv; a row holds the values of its step."""
    clip: float | None = None
    """Largest norm of the gradient of all parameters together; larger gradients are scaled down."""
    patience: int | None = None
    """Number of evaluations (one at each checkpoint) without a lower loss after which the run ends
    early, with the weights of the lowest loss; by default it runs to the end."""

    def __post_init__(self) -> None:
        require_at_least(self, iterations=1, checkpoint_every=1, keep=1, log_every=1)
        require_at_least(self, patience=1)
        require_positive(self, "clip")
