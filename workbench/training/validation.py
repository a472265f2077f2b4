"""The best step of a run by its loss on unseen data, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Best:
    """The step with the lowest validation loss; part of every checkpoint."""

    step: int = 0
    """0 before the first validation."""
    loss: float = math.inf
    since: int = 0
    """Validations after it."""
    weights: dict[str, torch.Tensor] | None = None
    """A copy of the model's state at that step."""

    def judge(self, step: int, loss: float, model: torch.nn.Module) -> None:
        """Take note of a validation."""
        if loss < self.loss:
            self.step, self.loss, self.since = step, loss, 0
            self.weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        else:
            self.since += 1

    def waited(self, patience: int | None) -> bool:
        """Whether so many validations brought no lower loss."""
        return patience is not None and self.since >= patience

    def state(self) -> dict[str, Any]:
        """For a checkpoint; ``Best(**state)`` is the inverse."""
        return dict(vars(self))
