"""What a run trains, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a run trains, and on what."""

    model: torch.nn.Module
    """Trained in place."""
    optimizer: Optimizer
    """Of the model's parameters."""
    read: Callable[[int], Any]
    """Step, from 1, to its batch. Called one step ahead in a thread: it draws from
    :func:`~workbench.training.randomness.step_generator`, never from a global random state."""
    loss: Callable[[Any], tuple[torch.Tensor, Mapping[str, float]]]
    """Batch to its loss, a scalar that is differentiated, and further columns of metrics.csv."""
    schedule: LRScheduler | None = None
    """Advanced once a step."""
    before: Callable[[int], None] | None = None
    """Called before each step: sets what is a function of the step, such as a learning rate."""
    parts: Callable[[Any], Sequence[Any]] | None = None
    """Batch to equal parts that pass through the model one after another: their gradients are
    averaged, so that memory grows with a part. All at once where it is None."""
    after: Callable[[int], None] | None = None
    """Called after each step: updates averages of the weights, which are part of `model`."""
    evaluate: Callable[[int], Mapping[str, float]] | None = None
    """Step to values for a row of evaluation.csv; called where a checkpoint is due. With a patience
    in the config, its value ``loss`` ends the run."""
    record: Callable[[int, Mapping[str, float]], None] | None = None
    """Step and the values of a row; called with each row of a table, for another log of it."""
    images: int = 0
    """Images of a batch, for the speed beside the bar; 0 shows none."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    step: int
    """Steps done."""
    finished: bool
    """Whether these are all; otherwise the run was asked to stop."""
    seconds: float
    """Time in all steps, those before a resumption included."""
    best_step: int | None = None
    """Step with the lowest evaluated loss, whose weights the model has where the run is finished;
    None without a patience."""
    best_loss: float | None = None
    """That loss."""


def largest_gradient(model: torch.nn.Module) -> str:
    """Words on the largest gradient that a model holds, and whose it is; empty without any."""
    found = {
        n: float(p.grad.abs().max()) for n, p in model.named_parameters() if p.grad is not None
    }
    if not found:
        return ""
    name = max(found, key=lambda key: (math.isnan(found[key]), found[key]))
    return f" (the largest gradient before it was {found[name]:.3g}, of {name})"
