"""Confidence intervals: bootstrap over test images, paired between sources, and Wilson's interval.

All sources are evaluated on the same images, so their scores rise and fall together. The difference
of two sources has a much narrower interval if both are evaluated on the same resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from feature_store import Source


def bootstrap_sums(
    per_image: np.ndarray, rows: np.ndarray, images: int, *, resamples: int, seed: int
) -> np.ndarray:
    """Sums over resampled images, float64, dims (resample, value).

    All rows of the store are resampled, whether or not a source has them. Calls with the same store
    size and seed are therefore paired, even if one source lacks some images.

    Parameters
    ----------
    per_image : float array, dims (image, value)
        Values to sum.
    rows : int array, dims (image,)
        Row number of each image in its store.
    images : int
        Images in that store.
    """
    rng = np.random.default_rng(seed)
    sums = np.empty((resamples, per_image.shape[1]))
    for resample in range(resamples):
        count = np.bincount(rng.integers(images, size=images), minlength=images)
        sums[resample] = count[rows] @ per_image
    return sums


def bootstrap_means(
    values: np.ndarray, rows: np.ndarray, images: int, *, resamples: int, seed: int
) -> np.ndarray:
    """Means over resampled images, dims (resample, value); NaN where a resample has no image.

    Parameters are those of :func:`bootstrap_sums`.
    """
    with_count = np.column_stack([values, np.ones(len(values))])
    sums = bootstrap_sums(with_count, rows, images, resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore"):
        return sums[:, :-1] / sums[:, -1:]


def interval(values: np.ndarray | Sequence[float], confidence: float = 0.95) -> tuple[Any, Any]:
    """Percentile interval of resampled values over the last axis, NaN left out: (low, high)."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail], axis=-1)
    return low, high


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; well behaved at 0 and 1.

    Source: Wilson (1927), J. Am. Stat. Assoc. 22.

    Examples
    --------
    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    z = ndtri(0.5 + confidence / 2)
    p = hits / count
    centre = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def differences(
    table: pd.DataFrame,
    metric: str,
    resampled: Mapping[str, Sequence[float]],
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Image scaling against model size: every multi-scale source minus every single-scale one.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source`` and the metric, one row per source.
    resampled : mapping
        Source to resamples of the metric, paired between sources.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``against``, ``difference`` (in units of the metric), ``low``, ``high``;
        empty if there is nothing to compare.

    Examples
    --------
    >>> table = pd.DataFrame({"source": ["m:a@1", "m:a@1+2"], "miou": [0.5, 0.7]})
    >>> resampled = {"m:a@1": [0.4, 0.6], "m:a@1+2": [0.6, 0.8]}
    >>> differences(table, "miou", resampled).round(3).to_numpy().tolist()
    [['m:a@1+2', 'm:a@1', 0.2, 0.2, 0.2]]
    """
    value = dict(zip(table["source"], table[metric], strict=True))
    several = {name: len(Source.parse(name).scales) > 1 for name in value}
    records = []
    for source in (name for name in value if several[name]):
        for other in (name for name in value if not several[name]):
            low, high = interval(np.subtract(resampled[source], resampled[other]), confidence)
            records.append((source, other, value[source] - value[other], low, high))
    return pd.DataFrame(records, columns=["source", "against", "difference", "low", "high"])
