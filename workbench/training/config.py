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
    validate_every: int | None = None
    """Steps between losses on unseen data; by default none is computed. The run then ends with the
    weights of the best of these steps."""
    patience: int | None = None
    """Validations without a lower loss after which the run ends early; by default it does not."""

    def __post_init__(self) -> None:
        require_at_least(self, iterations=1, checkpoint_every=1, keep=1, log_every=1)
        require_at_least(self, validate_every=1, patience=1)
        if self.clip is not None and self.clip <= 0:
            raise InputError(f"clip must be positive, got {self.clip}")
