"""Success rates of trials: paired and unpaired tests, and how many trials a difference needs."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, hypot, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit


class Paired(NamedTuple):
    """Two policies on the same positions."""

    difference: float
    """Success rate of the first minus that of the second."""
    low: float
    """Lower end of its 95 % interval, see :func:`over_seeds`."""
    high: float
    """Its upper end."""
    p: float
    """p of McNemar's exact test (two-sided); NaN for several seeds, whose trials at one position
    depend on each other."""


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of the exact test: positions on which one alone succeeds fall either way evenly.

    Source: McNemar (1947), Psychometrika 12.

    Parameters
    ----------
    first, second : bool arrays of one shape
        Success at the same positions.

    Examples
    --------
    >>> mcnemar(np.array([1, 1, 1, 1], bool), np.array([0, 0, 0, 1], bool))
    0.25
    """
    only = int((first & ~second).sum()), int((second & ~first).sum())
    return sign_test(min(only), max(only))


def sign_test(one: int, other: int) -> float:
    """Two-sided p of so many differences in favour of each side, which falls either way evenly.

    Examples
    --------
    >>> sign_test(0, 3), sign_test(0, 0)
    (0.25, 1.0)
    """
    from scipy.stats import binomtest  # deferred: 1 s

    return float(binomtest(one, one + other).pvalue) if one + other else 1.0


class Mean(NamedTuple):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


def over_seeds(values: np.ndarray) -> Mean:
    """Mean of trials, and its interval over other positions and other seeds of the training.

    All trials of a seed share one trained policy. The interval therefore has two parts, Student's t
    over the means of the seeds and over those of the positions, whose half-widths add as squares: a
    heuristic whose coverage the tests measure. The residual is counted twice, so that the interval
    is slightly wide. A single seed tells nothing of others: its interval is over positions alone.

    Parameters
    ----------
    values : array, dims (seed, position)

    Examples
    --------
    >>> mean, low, high = over_seeds(np.array([[0.0, 1.0], [0.0, 1.0]]))
    >>> mean, low < 0, high > 1
    (0.5, True, True)
    """
    mean, halves = float(values.mean()), []
    for axis, count in enumerate(values.shape):
        if count > 1:
            error = values.mean(1 - axis).std(ddof=1) / sqrt(count)
            halves.append(float(stdtrit(count - 1, 0.975) * error))
    half = hypot(*halves)
    return Mean(mean, mean - half, mean + half)


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Difference of two policies' success rates on the same positions.

    Parameters
    ----------
    first, second : bool arrays, dims (seed, position)
        Success of policies trained with several seeds; the same positions in the same order.

    Examples
    --------
    >>> ones, zeros = np.ones((1, 4), bool), np.zeros((1, 4), bool)
    >>> paired(ones, zeros)
    Paired(difference=1.0, low=1.0, high=1.0, p=0.125)
    """
    p = mcnemar(first, second) if len(first) == 1 else float("nan")
    return Paired(*over_seeds(first.astype(np.float64) - second), p)


def fisher(first: Sequence[int], second: Sequence[int]) -> float:
    """Two-sided p of Fisher's exact test.

    Parameters
    ----------
    first, second : (successes, trials)

    Examples
    --------
    >>> round(fisher((10, 16), (7, 16)), 2)
    0.48
    """
    from scipy.stats import fisher_exact  # deferred: 1 s

    rows = [[hits, trials - hits] for hits, trials in (first, second)]
    return float(fisher_exact(rows).pvalue)


def trials_needed(first: float, second: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Trials of each of two policies at which a two-sided test finds their difference.

        n = ((z_alpha sqrt(2 m (1 - m)) + z_power sqrt(p(1 - p) + q(1 - q))) / (p - q))^2

    Source: Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, 4.2, with
    m the mean of both rates; without continuity correction. Unpaired trials.

    Parameters
    ----------
    first, second : float
        Success rates, 0 to 1, that differ.
    power : float
        Share of studies that find the difference.
    alpha : float
        Level of the test.

    Examples
    --------
    >>> trials_needed(10 / 16, 7 / 16)
    111
    """
    mean = (first + second) / 2
    level = ndtri(1 - alpha / 2) * sqrt(2 * mean * (1 - mean))
    reach = ndtri(power) * sqrt(first * (1 - first) + second * (1 - second))
    return ceil(((level + reach) / (first - second)) ** 2)
