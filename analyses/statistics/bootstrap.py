"""Bootstrap over test images with the same images for every source, and paired differences.

Sources are judged on the same images, so their scores rise and fall together; the difference of
two sources has a much narrower interval if each resample of the images is used for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from feature_store import Source


def resampled(
    per_image: np.ndarray, rows: np.ndarray, images: int, *, resamples: int, seed: int
) -> np.ndarray:
    """Sums over resampled images, float64, dims (draw, value).

    All rows of the store are resampled: images that one source lacks leave the draws of the other
    images as they are, so calls with the same store size and seed are paired.

    Parameters
    ----------
    per_image : float array, dims (image, value)
        What is added up.
    rows : int array, dims (image,)
        Row number of each image in its store.
    images : int
        Images in that store.
    resamples, seed : int
        Resamples, and what fixes them.
    """
    rng = np.random.default_rng(seed)
    sums = np.empty((resamples, per_image.shape[1]))
    for draw in range(resamples):
        count = np.bincount(rng.integers(images, size=images), minlength=images)
        sums[draw] = count[rows] @ per_image
    return sums


def mean_draws(
    values: np.ndarray, rows: np.ndarray, images: int, *, resamples: int, seed: int
) -> np.ndarray:
    """Means over resampled images, dims (draw, value); NaN where a resample holds no image.

    Parameters as of :func:`resampled`.
    """
    with_count = np.column_stack([values, np.ones(len(values))])
    sums = resampled(with_count, rows, images, resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore"):
        return sums[:, :-1] / sums[:, -1:]


def interval(draws: np.ndarray | Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of draws; those that are NaN are left out."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; well behaved at 0 and 1.

    Source: Wilson (1927), J. Am. Stat. Assoc. 22.

    Examples
    --------
    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    z = norm.ppf(0.5 + confidence / 2)
    p = hits / count
    centre = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def differences(
    table: pd.DataFrame,
    metric: str,
    draws: Mapping[str, Sequence[float]],
    confidence: float = 0.95,
) -> pd.DataFrame:
    """S2 scaling against model size: every source of several scales minus every single scale.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source`` and the metric, one row per source.
    metric : str
    draws : mapping
        Source to draws of the metric, paired between sources.
    confidence : float

    Returns
    -------
    pandas.DataFrame
        ``source``, ``against``, ``difference`` (in units of the metric), ``low``, ``high``; no
        rows where there is nothing to compare.

    Examples
    --------
    >>> table = pd.DataFrame({"source": ["m:a@1", "m:a@1+2"], "miou": [0.5, 0.7]})
    >>> draws = {"m:a@1": [0.4, 0.6], "m:a@1+2": [0.6, 0.8]}
    >>> differences(table, "miou", draws).round(3).to_numpy().tolist()
    [['m:a@1+2', 'm:a@1', 0.2, 0.2, 0.2]]
    """
    value = dict(zip(table["source"], table[metric], strict=True))
    several = {name: len(Source.parse(name).scales) > 1 for name in value}
    records = []
    for source in (name for name in value if several[name]):
        for other in (name for name in value if not several[name]):
            low, high = interval(np.subtract(draws[source], draws[other]), confidence)
            records.append((source, other, value[source] - value[other], low, high))
    return pd.DataFrame(records, columns=["source", "against", "difference", "low", "high"])
