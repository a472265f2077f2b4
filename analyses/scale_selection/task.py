"""Tasks that use the maps, and what all tasks share.

A task has a predictor that is linear in the joint map of all scales, a loss that decides the gain
of a crop, and sums over each test image that add up to its metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import log_softmax

from analyses.linear.head import Head
from analyses.scale_selection.config import SelectionConfig
from analyses.scale_selection.gains import Loss
from analyses.statistics.bootstrap import bootstrap_sums


@dataclass(frozen=True, eq=False)
class FilledMaps:
    """Filled maps of some images: the input of a predictor."""

    side: int
    """0 = training, 1 = test."""
    index: np.ndarray
    """int, dims (image,): rows of the store."""
    x: np.ndarray
    """float32, dims (image, cell, channel)."""
    extra: Mapping[str, np.ndarray]
    """Source of the task's own to its tokens: float32, dims (image, row, col, channel)."""


class Task(Protocol):
    """A use of the maps: its predictor, loss and metric."""

    name: str
    metric_name: str
    sources: tuple[str, ...]
    """Further single-scale sources to read."""
    rows: tuple[np.ndarray, np.ndarray]
    """Images of the training and the test store to use: bool, dims (image,)."""

    def cells(self, maps: np.ndarray) -> np.ndarray:
        """From maps (..., row, col, channel) to inputs of the predictor (..., cell, channel)."""

    def fit(self, batches: Iterable[FilledMaps], penalty: float | None) -> tuple[Head, float]:
        """Fit a predictor on training images; returns it with its penalty."""

    def loss(self, seen: FilledMaps) -> Loss:
        """The loss of these images as a function of outputs."""

    def sums(self, head: Head, seen: FilledMaps) -> list[np.ndarray]:
        """Sums of each image that add up to the metric."""

    def metric(self, total: np.ndarray) -> float:
        """The metric of :meth:`sums` added over images, dims (value,)."""


def outputs(head: Head, x: np.ndarray) -> np.ndarray:
    """Outputs of a predictor: float32, dims (..., value)."""
    return x @ head.weight.astype(np.float32) + head.bias.astype(np.float32)


def cross_entropy(labels: np.ndarray) -> Loss:
    """Mean loss over cells whose class the head has; labels (image, cell), -1 = none."""

    def loss(z: np.ndarray) -> np.ndarray:
        known = (labels >= 0) & (labels < z.shape[-1])
        at = np.where(known, labels, 0)[:, None, :, None]
        own = np.take_along_axis(log_softmax(z, axis=-1), np.broadcast_to(
            at, (*z.shape[:-1], 1)), axis=-1)[..., 0]  # fmt: skip
        return mean_of_known(-own, known[:, None])

    return loss


def mean_of_known(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean over known cells, 0 if there are none: (image, set, cell) to (image, set)."""
    count = np.maximum(known.sum(-1), 1)
    return np.where(known, values, 0).sum(-1, dtype=np.float64) / count


def resampled(
    task: Task, sums: np.ndarray, rows: np.ndarray, images: int, config: SelectionConfig
) -> tuple[float, np.ndarray]:
    """The metric, and its values over resampled images (the same for every policy).

    Parameters
    ----------
    sums : float64 array, dims (image, value)
    rows : int array, dims (image,)
        Store rows of these images.
    images : int
        Images in the store.
    """
    draws = bootstrap_sums(sums, rows, images, resamples=config.resamples, seed=config.seed)
    return task.metric(sums.sum(0)), np.array([task.metric(total) for total in draws])
