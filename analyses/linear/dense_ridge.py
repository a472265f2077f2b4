"""Ridge regression of one number on many tokens, the penalty chosen on held-out images.

Minimised over w (channel,) and b for tokens x (token, channel) and targets y (token,):

    |y - x w - b|^2 + ratio * mean eigenvalue * |w|^2

where the eigenvalues are those of the scatter of x about its mean. Scatters are added up in blocks
of tokens, and that of all folds but one is the total less the fold's own: memory is a few
channel-by-channel matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyses.reading.pooled import BLOCK_ROWS

RATIOS = tuple(10.0**e for e in range(-6, 3))
"""Ridge penalties tried, over the mean eigenvalue of the tokens' scatter."""


@dataclass(frozen=True)
class _Sums:
    """Number of tokens and sums of x, y, x x' and x y, about one centre that keeps digits."""

    count: float
    x: np.ndarray
    y: float
    xx: np.ndarray
    xy: np.ndarray


def fit(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, ratios: Sequence[float] = RATIOS
) -> tuple[np.ndarray, float, float]:
    """Weight, dims (channel,); bias; and the ratio with the smallest squared held-out error.

    A channel or token set without variance gets no weight.

    Parameters
    ----------
    x : float32 array, dims (token, channel)
    y : float64 array, dims (token,)
    folds : int array, dims (token,)
        At least two different ones, unless there is one ratio only, which needs no choice.
    ratios : sequence of float
    """
    centre = x.mean(0, dtype=np.float64), float(y.mean())
    total = _sums(x, y, centre, np.arange(len(y)))
    error = np.zeros(len(ratios))
    for fold in np.unique(folds) if len(ratios) > 1 else ():
        held = np.flatnonzero(folds == fold)
        own = _sums(x, y, centre, held)
        rest = _Sums(
            total.count - own.count, total.x - own.x, total.y - own.y, total.xx - own.xx,
            total.xy - own.xy,
        )  # fmt: skip
        weights, biases = _solve(rest, ratios)
        for part in _parts(held):
            missed = (x[part] - centre[0]) @ weights + biases - (y[part] - centre[1])[:, None]
            error += (missed**2).sum(0)
    best = ratios[int(error.argmin())]
    weights, biases = _solve(total, (best,))
    weight = weights[:, 0]
    return weight, float(biases[0] + centre[1] - centre[0] @ weight), best


def _sums(
    x: np.ndarray, y: np.ndarray, centre: tuple[np.ndarray, float], rows: np.ndarray
) -> _Sums:
    channels = x.shape[1]
    sum_x, sum_y = np.zeros(channels), 0.0
    xx, xy = np.zeros((channels, channels)), np.zeros(channels)
    for part in _parts(rows):
        a, b = x[part] - centre[0], y[part] - centre[1]
        sum_x += a.sum(0)
        sum_y += float(b.sum())
        xx += a.T @ a
        xy += a.T @ b
    return _Sums(len(rows), sum_x, sum_y, xx, xy)


def _solve(sums: _Sums, ratios: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights, dims (channel, ratio), and biases, dims (ratio,)."""
    mean = sums.x / sums.count
    values, vectors = np.linalg.eigh(sums.xx - sums.count * np.outer(mean, mean))
    target = vectors.T @ (sums.xy - mean * sums.y)
    damped = values.clip(0)[:, None] + np.asarray(ratios) * values.mean()
    shrunk = np.divide(target[:, None], damped, out=np.zeros_like(damped), where=damped > 0)
    weights = vectors @ shrunk
    return weights, sums.y / sums.count - mean @ weights


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    """Row numbers in blocks."""
    return [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
