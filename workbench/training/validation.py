"""Early stopping: the best step of a run by its loss on unseen data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Best:
    """The step with the lowest loss on unseen data; part of every checkpoint, as a dict."""

    step: int = 0
    """0 before the first evaluation."""
    loss: float = math.inf
    since: int = 0
    """Evaluations since the best step."""
    weights: dict[str, torch.Tensor] | None = None
    """A copy of the model's state at that step."""

    def update(self, step: int, loss: float, model: torch.nn.Module) -> None:
        """Keep the step, loss and weights of an evaluation if its loss is the lowest."""
        if loss < self.loss:
            self.step, self.loss, self.since = step, loss, 0
            self.weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        else:
            self.since += 1

    def waited(self, patience: int | None) -> bool:
        """Whether `patience` evaluations in a row brought no lower loss."""
        return patience is not None and self.since >= patience

    def restore(self, model: torch.nn.Module) -> None:
        """Load the best weights into a model, if there are any."""
        if self.weights is not None:
            model.load_state_dict(self.weights)

    def found(self) -> dict[str, Any]:
        """Step and loss for the outcome of a run; None without an evaluation."""
        known = self.weights is not None
        return {
            "best_step": self.step if known else None,
            "best_loss": self.loss if known else None,
        }
