"""How long a run trains and how often it saves; in a module that is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.errors import InputError, require_at_least


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length of a run, and what it writes on the way."""

    iterations: int = 1000
    """Optimiser steps."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the last step always has one."""
    keep: int = 2
    """Checkpoints that stay on disk, the latest ones."""
    log_every: int = 10
    """Steps between rows of metrics.csv; a row holds the values of its step."""
    clip: float | None = None
    """Largest norm of the gradient of all parameters together; larger ones are scaled down."""
    patience: int | None = None
    """Evaluations, one at each checkpoint, without a lower loss, after which the run ends early and
    with the weights of the lowest; by default it does not."""

    def __post_init__(self) -> None:
        require_at_least(self, iterations=1, checkpoint_every=1, keep=1, log_every=1)
        require_at_least(self, patience=1)
        if self.clip is not None and self.clip <= 0:
            raise InputError(f"clip must be positive, got {self.clip}")
