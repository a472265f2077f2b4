"""Linear maps between sources, solved from the second moments of their tokens.

The arithmetic is that of :mod:`analyses.linear.ridge`; here sources are named, and means and
scatters are taken from :class:`~analyses.moments.second_moments.Moments`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyses.linear.ridge import (
    NOISE,
    RIDGES,
    explained,
    held_out_losses,
    solve_least_squares,
    solve_ridge,
)
from analyses.moments.second_moments import Moments
from feature_store.errors import InputError

CONSTANT = 1e-12  # variance / (variance + mean^2) at or below which a channel counts as constant
BLOCK_ROWS = 1024
"""Rows multiplied at a time."""


@dataclass(frozen=True)
class Solution:
    """A linear map from a source to a target, with what the training moments say about it."""

    sources: tuple[str, ...]
    """Single-scale sources side by side on the x axis."""
    weights: np.ndarray
    """float64, dims (x channel, y channel): the prediction is mean_y + (x - mean_x) @ weights."""
    mean_x: np.ndarray
    """float64, dims (x channel,): training mean."""
    mean_y: np.ndarray
    """float64, dims (y channel,): training mean."""
    ridge: float
    """Penalty relative to the mean eigenvalue of the source covariance; 0 is least squares."""
    dof: float
    """Effective degrees of freedom per target channel: trace of the hat matrix."""
    residual: np.ndarray
    """float64, dims (y channel,): mean squared training error of each target channel."""
    variance: np.ndarray
    """float64, dims (y channel,): training variance of each target channel: the error of the best
    constant."""


@dataclass(frozen=True)
class RidgePath:
    """Cross-validated loss of several ridges."""

    ridges: np.ndarray
    """float64, dims (ridge,)."""
    loss: np.ndarray
    """float64, dims (fold, ridge): squared error per token and channel on each held-out fold."""
    tokens: np.ndarray
    """int, dims (fold,): weight of each fold."""

    @property
    def mean(self) -> np.ndarray:
        """Loss over all held-out tokens: dims (ridge,)."""
        return np.average(self.loss, axis=0, weights=self.tokens)

    @property
    def best(self) -> float:
        """The ridge with the lowest held-out loss."""
        return float(self.ridges[np.argmin(self.mean)])


def solve(moments: Moments, x: Sequence[str], y: Sequence[str], ridge: float) -> Solution:
    """Best linear map from sources x to sources y on all folds.

    ``ridge=0`` is least squares as in the paper, by
    :func:`~analyses.linear.ridge.solve_least_squares`.

    Raises
    ------
    InputError
        Negative ridge, or a source that the moments do not hold.
    """
    if ridge < 0:
        raise InputError(f"ridge is {ridge}; expected 0 or more")
    sxx, sxy = moments.comoment(x, x), moments.comoment(x, y)
    variance = moments.variance_sum(y)
    tokens = moments.count()
    if ridge == 0:
        spread = np.diagonal(sxx) / tokens
        varies = spread > CONSTANT * (spread + moments.mean_of(x) ** 2)
        noise = NOISE[moments.attrs.get("precision", "float64")]
        weights, dof = solve_least_squares(sxx, sxy, varies, noise)
    else:
        weights, dof = solve_ridge(sxx, sxy, ridge)
    residual = np.maximum(variance - explained(weights, sxx, sxy), 0.0) / tokens
    means = moments.mean_of(x), moments.mean_of(y)
    return Solution(tuple(x), weights, *means, float(ridge), dof, residual, variance / tokens)


def cross_validate(
    moments: Moments, x: Sequence[str], y: Sequence[str], ridges: Sequence[float] = RIDGES
) -> RidgePath:
    """Held-out loss of every ridge, each fold of images predicted from the others.

    In closed form, by :func:`~analyses.linear.ridge.held_out_losses`.

    Raises
    ------
    InputError
        Fewer than two folds hold images.
    """
    if len(moments.folds) < 2:
        raise InputError(
            f"cross-validation needs images in at least 2 folds, found {len(moments.folds)}; "
            f"use more images, or give the ridge as a number"
        )
    rows = []
    for fold in moments.folds:
        others = [k for k in moments.folds if k != fold]
        mean_x, mean_y = moments.mean_of(x, others), moments.mean_of(y, others)
        losses = held_out_losses(
            (moments.comoment(x, x, others), moments.comoment(x, y, others)),
            (
                moments.comoment(x, x, [fold], (mean_x, mean_x)),
                moments.comoment(x, y, [fold], (mean_x, mean_y)),
                moments.variance_sum(y, [fold], mean_y).sum(),
            ),
            ridges,
        )
        rows.append(losses / (moments.count([fold]) * len(mean_y)))
    return RidgePath(np.array(ridges), np.array(rows), moments.tokens[moments.folds])


def of_rows(x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> Moments:
    """Moments of rows in memory, named "x" and "y"; every row counts as one image and one token.

    Parameters
    ----------
    x, y : float arrays, dims (row, x channel), (row, y channel)
    folds : int array, dims (row,)
        Fold of each row, 0 or more.
    """
    blocks = {"x": x.shape[1], "y": y.shape[1]}
    counts = np.bincount(folds)
    mean = np.zeros((len(counts), sum(blocks.values())))
    scatter = np.zeros((*mean.shape, mean.shape[1]))
    for fold in np.flatnonzero(counts):
        rows = np.flatnonzero(folds == fold)
        parts = [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
        for part in parts:
            mean[fold] += np.r_[x[part].sum(0, dtype=np.float64), y[part].sum(0)] / len(rows)
        for part in parts:
            z = np.concatenate([x[part], y[part]], axis=1, dtype=np.float64) - mean[fold]
            scatter[fold] += z.T @ z
    return Moments(blocks, counts, counts, mean, scatter)
