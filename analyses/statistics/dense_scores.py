"""Scores of dense predictions: mean IoU and RMSE over images, with intervals, and IoU by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from analyses.configs import DenseConfig
from analyses.reading import target_maps
from analyses.statistics.bootstrap import bootstrap_sums, interval
from feature_store import InputError

Scored = tuple[np.ndarray, np.ndarray]
"""A head's output map for an image, and the truth."""


@dataclass(frozen=True, eq=False)
class PerImage:
    """Sums of each image, from which a source's metrics follow."""

    rows: np.ndarray
    """int, dims (image,): rows of the test store."""
    sums: list[np.ndarray]
    """As :func:`count_pixels` returns them: dims (3, class) or (3, 1)."""
    maps: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Row of some images to (truth, prediction), dims (pixel row, pixel col) each: classes (-1 =
    ignored) or metres (NaN = unknown)."""

    @classmethod
    def scored(cls, found: Iterable[Scored], rows: np.ndarray, config: DenseConfig) -> PerImage:
        """Score a head's outputs for these rows, in their order.

        Parameters
        ----------
        found : iterable of (output, truth)
            As :func:`count_pixels` takes them.
        rows : int array, dims (image,)
        config : DenseConfig
            Task, and how many maps are kept: those of rows in equal distances.
        """
        chosen = np.linspace(0, len(rows) - 1, min(config.kept_maps, len(rows))).round()
        sums, maps = [], {}
        for place, (output, truth) in enumerate(found):
            sums.append(count_pixels(output, truth, config))
            if place in chosen:
                large = target_maps.enlarged(output, truth.shape)
                depth = config.task == "depth"
                predicted = large[..., 0] if depth else large.argmax(-1).astype(np.int32)
                maps[int(rows[place])] = truth, predicted
        return cls(rows, sums, maps)

    def class_iou(self) -> np.ndarray:
        """Intersection over union of each class over all images; NaN for one that never occurs."""
        return target_maps.class_iou(padded(self.sums).sum(0))


def padded(sums: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of all images, dims (image, ..., value), filled up with zeros to equal width."""
    wide = max(part.shape[-1] for part in sums)
    return np.stack([np.pad(p, [(0, 0)] * (p.ndim - 1) + [(0, wide - p.shape[-1])]) for p in sums])


def scores(
    sums: Sequence[np.ndarray], rows: np.ndarray, images: int, config: DenseConfig
) -> tuple[dict[str, float], list[float]]:
    """The task's metric, its interval and the second metric; and resamples of the metric.

    Parameters
    ----------
    sums : sequence of arrays, dims (3, class)
        For each image the result of :func:`count_pixels`.
    rows : int array, dims (image,)
        Row numbers of these images in a store of `images`.

    Raises
    ------
    InputError
        No image, or no known pixel.
    """
    if not sums:
        raise InputError("no test image is readable")
    task = _METRICS[config.task]
    metric, second = task.functions
    if config.task == "depth" and config.averaged_over == "images":
        metric = target_maps.mean_rmse
    flat = padded(sums).reshape(len(sums), -1).astype(np.float64)
    total = flat.sum(0).reshape(3, -1)
    value = metric(total)
    if np.isnan(value):
        raise InputError("the test maps hold no known pixel")
    totals = bootstrap_sums(flat, rows, images, resamples=config.resamples, seed=config.seed)
    values = [metric(one.reshape(3, -1)) for one in totals]
    low, high = interval(values, config.confidence)
    record = {task.names[0]: value, "low": low, "high": high, task.names[1]: second(total)}
    return record, values


def count_pixels(output: np.ndarray, truth: np.ndarray, config: DenseConfig) -> np.ndarray:
    """The sums behind a task's metrics for one image.

    Parameters
    ----------
    output : float32 array, dims (row, col, value)
        A head's output map: score of each class, or metres.
    truth : array, dims (pixel row, pixel col)
        int, -1 = ignored; or float metres, NaN = unknown.
    config : DenseConfig
        Task; for depth, cap, median scaling and what is averaged.

    Returns
    -------
    array, dims (3, class) or (3, 1)
        See :func:`~analyses.reading.target_maps.class_counts`,
        :func:`~analyses.reading.target_maps.depth_sums` and
        :func:`~analyses.reading.target_maps.of_image`.
    """
    if config.task == "depth":
        sums = target_maps.depth_sums(output, truth, config.depth_cap, config.median_scaling)
        return target_maps.of_image(sums) if config.averaged_over == "images" else sums
    return target_maps.class_counts(output, truth)


@dataclass(frozen=True, kw_only=True)
class _Metrics:
    """A task's metrics."""

    names: tuple[str, str]
    """Columns of the two metrics."""
    functions: tuple[Callable[[np.ndarray], float], Callable[[np.ndarray], float]]
    """Compute the two metrics from the summed counts; the first has the interval."""


_METRICS = {
    "segmentation": _Metrics(
        names=("miou", "pixel_accuracy"),
        functions=(target_maps.mean_iou, lambda sums: float(sums[0].sum() / sums[1].sum())),
    ),
    "depth": _Metrics(
        names=("rmse", "delta1"),
        functions=(target_maps.rmse, lambda sums: float(sums[1, 0] / sums[2, 0])),
    ),
}
