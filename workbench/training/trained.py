"""The parts that a run trains, and its outcome."""

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
    """A model with everything that its training needs."""

    model: torch.nn.Module
    """Trained in place."""
    optimizer: Optimizer
    """Optimiser of the model's parameters."""
    read: Callable[[int], Any]
    """Reads the batch of a step, counted from 1. It is called one step ahead in a thread, so it
    draws from :func:`~workbench.training.randomness.step_generator`, never from global states."""
    loss: Callable[[Any], tuple[torch.Tensor, Mapping[str, float]]]
    """Batch to its loss, a scalar to differentiate, and further columns of metrics.csv, which are
    means over all processes."""
    schedule: LRScheduler | None = None
    """Advanced once per step."""
    before: Callable[[int], None] | None = None
    """Called before each step, to set values that depend on the step, such as learning rates."""
    parts: Callable[[Any], Sequence[Any]] | None = None
    """Splits a batch into equal parts that run one after another, with averaged gradients, to save
    memory. None runs the whole batch."""
    after: Callable[[int], None] | None = None
    """Called after each step, to update averages of the weights, which are part of `model`."""
    evaluate: Callable[[int], Mapping[str, float]] | None = None
    """Step to the values of a row of evaluation.csv; called when a checkpoint is due. Its value
    ``loss`` is compared if the config has a patience."""
    record: Callable[[int, Mapping[str, float]], None] | None = None
    """Called with the step and values of each row of a table, for another log."""
    images: int = 0
    """Images per batch, for the speed beside the bar; 0 shows no speed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    step: int
    """Steps done."""
    finished: bool
    """Whether all steps are done; otherwise the run was asked to stop."""
    seconds: float
    """Time in all steps, including steps before the run resumed."""
    best_step: int | None = None
    """Step with the lowest evaluated loss, whose weights a finished model has; None without a
    patience."""
    best_loss: float | None = None
    """The lowest evaluated loss."""


def largest_gradient(model: torch.nn.Module, factor: float) -> str:
    """Names the largest gradient of a model for a message; empty if there are no gradients.

    `factor` is what the gradients were divided by, such as by clipping.
    """
    found = {
        n: factor * float(p.grad.abs().max())
        for n, p in model.named_parameters()
        if p.grad is not None
    }
    if not found:
        return ""
    name = max(found, key=lambda key: (math.isnan(found[key]), found[key]))
    return f" (the largest gradient before it was {found[name]:.3g}, of {name})"
