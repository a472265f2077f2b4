"""Capacity for random labels: the most images whose coin-flip labels a linear head can fit.

For n images with labels drawn by a fair coin, a logistic head with almost no penalty is trained to
its optimum. The capacity is the largest n whose training accuracy, averaged over several draws, is
at least 99 %; it is found by bisection. For comparison: n = 2 (d + 1) points in general position in
d dimensions are separable by a hyperplane with offset with probability 1/2 (Cover 1965); features
that do not fill their d dimensions fall short of that. The logistic head does not search for the
most hits, so the capacity found is a lower bound on that of a linear head.

Features are whitened first. Invertible maps do not change whether a hyperplane can separate the
labels, and the optimum is found in tens of passes instead of thousands.

Source: Zhang et al. (2021), random-label memorization; Cover (1965), IEEE Trans. EC-14.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch

from analyses.configs import RandomLabelConfig
from analyses.linear.logistic import LogisticProblem
from analyses.reading.pooled import FeatureRows, pool
from feature_store import FeatureStore
from feature_store.source import names_of

L2 = 1e-7
"""Penalty: small enough to cost no hit, large enough for an optimum to exist."""
TOLERANCE = 1e-3
"""Gradient tolerance (nats): hits settle long before the loss does."""


def compute(
    store: FeatureStore, *, sources: str | Sequence[str], config: RandomLabelConfig | None = None
) -> pd.DataFrame:
    """One row per source; labels of the store are not used.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``capacity``, ``censored`` (all images were fitted, so the capacity is a lower
        bound), ``cover`` (2 (channels + 1)), ``channels``, ``images``; ``counts`` and
        ``accuracies`` (the measured points of the capacity curve, ascending).
    """
    config = config or RandomLabelConfig()
    sources = names_of(sources)
    pooled = pool(store, sources, config.pooling)
    records = []
    for source in sources:
        x = pooled.features(source, config.merge).load()
        most, censored, accuracies = capacity(x, config)
        records.append(
            {
                "source": source,
                "capacity": most,
                "censored": censored,
                "cover": 2 * (x.shape[1] + 1),
                "channels": x.shape[1],
                "images": len(x),
                "counts": sorted(accuracies),
                "accuracies": [accuracies[count] for count in sorted(accuracies)],
            }
        )
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "store": store.path}
    return table


def capacity(x: np.ndarray, config: RandomLabelConfig) -> tuple[int, bool, dict[int, float]]:
    """Largest number of rows fitted, whether that is all of them, and count to mean accuracy.

    Rows are float32, dims (image, channel).
    """
    x = whitened(x)
    low, high = 2, len(x)
    tried = {high: fitted_accuracy(x, high, config)}
    if tried[high] >= config.accuracy:
        return high, True, tried
    while high - low > max(1, config.resolution * high):
        middle = (low + high) // 2
        tried[middle] = fitted_accuracy(x, middle, config)
        if tried[middle] >= config.accuracy:
            low = middle
        else:
            high = middle
    return low, False, tried


def whitened(x: np.ndarray) -> np.ndarray:
    """The rows in coordinates in which their covariance is the identity: float32.

    Directions whose variance cannot be told from float32 rounding are left out. If all rows are
    equal, one channel of zeros remains.
    """
    centred = torch.from_numpy(x).double()
    centred = centred - centred.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    keep = values > 1e-10 * values[-1].clamp(min=1e-30)
    if not keep.any():
        return np.zeros((len(x), 1), np.float32)
    return (centred @ (vectors[:, keep] / values[keep].sqrt())).float().numpy()


def fitted_accuracy(x: np.ndarray, count: int, config: RandomLabelConfig) -> float:
    """Mean training accuracy on `count` random rows with random labels."""
    total = 0.0
    for draw in range(config.repeats):
        rng = np.random.default_rng([config.seed, draw, count])
        rows = FeatureRows.of(x[rng.choice(len(x), count, replace=False)])
        labels = rng.permutation(np.arange(count) % 2)  # both labels occur, in equal numbers
        problem = LogisticProblem(rows, labels, 2)
        _, hits = problem.evaluate(problem.fit(l2=L2, tolerance=TOLERANCE))
        total += float(hits.mean())
    return total / config.repeats
