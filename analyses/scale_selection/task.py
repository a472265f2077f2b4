"""What the maps are used for: the parts that every task has.

A task has a predictor that is linear in the joint map of all scales, a loss that tells what a crop
is worth, and sums over each test image from which its metric is made.
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
    """Filled maps of some images, as the predictor sees them.

    Attributes
    ----------
    side : int
        0 = training, 1 = test.
    index : int array, dims (image,)
        Rows of the store.
    x : float32 array, dims (image, cell, channel)
    extra : dict of str to float32 array, dims (image, row, col, channel)
        Tokens of the task's own sources.
    """

    side: int
    index: np.ndarray
    x: np.ndarray
    extra: Mapping[str, np.ndarray]


class Task(Protocol):
    """See the module."""

    name: str
    metric_name: str
    sources: tuple[str, ...]
    """Single-scale sources that are read beside the maps."""
    rows: tuple[np.ndarray, np.ndarray]
    """Images of the training and the test store that take part: bool, dims (image,)."""

    def cells(self, maps: np.ndarray) -> np.ndarray:
        """Maps (..., row, col, channel) to what the predictor sees: (..., cell, channel)."""

    def fit(self, batches: Iterable[FilledMaps], penalty: float | None) -> tuple[Head, float]:
        """The predictor of training images, and its penalty."""

    def loss(self, seen: FilledMaps) -> Loss:
        """The loss of outputs for these images."""

    def sums(self, head: Head, seen: FilledMaps) -> list[np.ndarray]:
        """For each image what the metric is made of."""

    def metric(self, total: np.ndarray) -> float:
        """The metric of summed :meth:`sums`, dims (value,)."""


def outputs(head: Head, x: np.ndarray) -> np.ndarray:
    """float32, dims (..., value)."""
    return x @ head.weight.astype(np.float32) + head.bias.astype(np.float32)


def cross_entropy(labels: np.ndarray) -> Loss:
    """Mean over cells with a class that the head knows; labels (image, cell), -1 = none."""

    def loss(z: np.ndarray) -> np.ndarray:
        known = (labels >= 0) & (labels < z.shape[-1])
        at = np.where(known, labels, 0)[:, None, :, None]
        own = np.take_along_axis(log_softmax(z, axis=-1), np.broadcast_to(
            at, (*z.shape[:-1], 1)), axis=-1)[..., 0]  # fmt: skip
        return mean_of_known(-own, known[:, None])

    return loss


def mean_of_known(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean of the known cells, 0 where there are none: (image, set, cell) to (image, set)."""
    count = np.maximum(known.sum(-1), 1)
    return np.where(known, values, 0).sum(-1, dtype=np.float64) / count


def resampled(
    task: Task, sums: np.ndarray, rows: np.ndarray, images: int, config: SelectionConfig
) -> tuple[float, np.ndarray]:
    """The metric, and its values over resampled images, the same images for every policy.

    Parameters
    ----------
    task : Task
    sums : float64 array, dims (image, value)
    rows : int array, dims (image,)
        Of these images, in a store of `images`.
    images : int
    config : SelectionConfig
    """
    draws = bootstrap_sums(sums, rows, images, resamples=config.resamples, seed=config.seed)
    return task.metric(sums.sum(0)), np.array([task.metric(total) for total in draws])


def stacked(sums: list[np.ndarray]) -> np.ndarray:
    """Sums of all images in one array, dims (image, value); narrow ones are filled with zeros."""
    wide = max(part.shape[-1] for part in sums)
    padded = [np.pad(p, [(0, 0)] * (p.ndim - 1) + [(0, wide - p.shape[-1])]) for p in sums]
    return np.stack(padded).reshape(len(padded), -1).astype(np.float64)
