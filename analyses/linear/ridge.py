"""Least squares and ridge regression from second moments: solvers only, no stores, no tokens.

With Sxx, Sxy the scatter of the training tokens about their mean, the map that minimises
sum |y - ybar - W^T (x - xbar)|^2 + penalty |W|^2 is W = (Sxx + penalty I)^-1 Sxy, where
penalty = ridge * trace(Sxx) / dx: `ridge` is relative to the mean eigenvalue of the source
covariance and does not depend on the number of tokens. One eigendecomposition of Sxx gives the
whole path over `ridge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analyses.moments.second_moments import Moments
from feature_store.errors import InputError

RIDGES = tuple(float(r) for r in 10.0 ** np.arange(-6.0, 1.01, 0.25))  # path for ridge="auto"
CONSTANT = 1e-12  # variance / (variance + mean^2) at or below which a channel counts as constant
# Smallest eigenvalue of the correlation matrix, relative to the largest, that is told from
# rounding, per precision of the products. Measured in null directions (640 of 1280 channels, 8192
# tokens): at most 4e-8 after float32 products and 1e-15 after float64 ones.
NOISE = {"float32": 1e-6, "float64": 1e-12}


@dataclass(frozen=True)
class Solution:
    """A linear map from a source to a target, with what the training moments say about it.

    Attributes
    ----------
    sources : tuple of str
        Single-scale sources side by side on the x axis.
    weights : ndarray of float64, dims (x channel, y channel)
    mean_x, mean_y : ndarray of float64
        Training means: the prediction is mean_y + (x - mean_x) @ weights.
    ridge : float
        Penalty relative to the mean eigenvalue of the source covariance; 0 is least squares.
    dof : float
        Effective degrees of freedom per target channel: trace of the hat matrix.
    residual : ndarray of float64, dims (y channel,)
        Mean squared training error of each target channel.
    variance : ndarray of float64, dims (y channel,)
        Training variance of each target channel: the error of the best constant.
    """

    sources: tuple[str, ...]
    weights: np.ndarray
    mean_x: np.ndarray
    mean_y: np.ndarray
    ridge: float
    dof: float
    residual: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Path:
    """Cross-validated loss along the ridge path.

    Attributes
    ----------
    ridges : ndarray, dims (ridge,)
    loss : ndarray, dims (fold, ridge)
        Squared error per token and channel on each held-out fold.
    tokens : ndarray of int, dims (fold,)
        Weight of each fold.
    """

    ridges: np.ndarray
    loss: np.ndarray
    tokens: np.ndarray

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

    ``ridge=0`` is least squares as in the paper, made safe for duplicated, dependent and constant
    channels: each channel is scaled to unit variance and directions of the correlation matrix that
    cannot be told from rounding are left out (minimum-norm solution).

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
        weights, dof = _least_squares(moments, x, sxx, sxy)
    else:
        weights, dof = _penalised(sxx, sxy, ridge * float(np.trace(sxx)) / len(sxx))
    explained = 2 * (weights * sxy).sum(0) - (weights * _product(sxx, weights)).sum(0)
    return Solution(
        tuple(x),
        weights,
        moments.mean_of(x),
        moments.mean_of(y),
        float(ridge),
        dof,
        np.maximum(variance - explained, 0.0) / tokens,
        variance / tokens,
    )


def errors_on(
    moments: Moments, solution: Solution, y: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of a fitted map, and of its constant, on the images of other moments.

    Returns
    -------
    (residual, null) : ndarrays of float64, dims (y channel,)
        Errors of the prediction and of the training mean.
    """
    x, w = solution.sources, solution.weights
    about = (solution.mean_x, solution.mean_y)
    sxx = moments.comoment(x, x, about=(about[0], about[0]))
    gain = 2 * (w * moments.comoment(x, y, about=about)).sum(0) - (w * _product(sxx, w)).sum(0)
    null = moments.variance_sum(y, about=about[1])
    return np.maximum(null - gain, 0.0) / moments.count(), null / moments.count()


def cross_validate(
    moments: Moments, x: Sequence[str], y: Sequence[str], ridges: Sequence[float] = RIDGES
) -> Path:
    """Held-out loss along the ridge path, each fold of images predicted from the others.

    Closed form. With V, d the eigenvectors and eigenvalues of the training Sxx, A = V^T Sxy and
    r = 1 / (d + penalty), the map is W = V diag(r) A. On the held-out fold (moments about the
    training means, marked '), its squared error is
    sum diag Syy' - 2 r . rowsum(A * V^T Sxy') + r^T ((V^T Sxx' V) * (A A^T)) r,
    so that every further ridge costs dx^2.

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
    rows = [_held_out_path(moments, x, y, fold, ridges) for fold in moments.folds]
    return Path(np.array(ridges), np.array(rows), moments.tokens[moments.folds])


def _held_out_path(
    moments: Moments, x: Sequence[str], y: Sequence[str], fold: int, ridges: Sequence[float]
) -> np.ndarray:
    others = [k for k in moments.folds if k != fold]
    mean_x, mean_y = moments.mean_of(x, others), moments.mean_of(y, others)
    sxx = moments.comoment(x, x, others)
    values, vectors = _eigh(sxx)
    a = _product(vectors.T, moments.comoment(x, y, others))
    held = moments.comoment(x, y, [fold], (mean_x, mean_y))
    cross = (a * _product(vectors.T, held)).sum(1)
    held = moments.comoment(x, x, [fold], (mean_x, mean_x))
    quadratic = _product(_product(vectors.T, held), vectors) * _product(a, a.T)
    total = moments.variance_sum(y, [fold], mean_y).sum()
    losses = []
    for ridge in ridges:
        r = _inverse(values + ridge * np.trace(sxx) / len(sxx))
        losses.append(total - 2 * r @ cross + r @ quadratic @ r)
    return np.array(losses) / (moments.count([fold]) * len(mean_y))


def _penalised(sxx: np.ndarray, sxy: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Ridge weights and trace of the hat matrix, dx - penalty * trace((Sxx + penalty I)^-1).

    By Cholesky factor; by eigenvectors where rounding of Sxx exceeds a very small penalty.
    """
    eye = torch.eye(len(sxx), dtype=torch.float64)
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(sxx) + penalty * eye)
    if penalty == 0 or failed:
        values, vectors = _eigh(sxx)
        shrink = _inverse(values + penalty)
        by_eigen = _product(vectors, shrink[:, None] * _product(vectors.T, sxy))
        return by_eigen, float((values * shrink).sum())
    weights = torch.cholesky_solve(torch.from_numpy(sxy), factor)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    return weights.numpy(), len(sxx) - penalty * float(inverse.square().sum())


def _least_squares(
    moments: Moments, x: Sequence[str], sxx: np.ndarray, sxy: np.ndarray
) -> tuple[np.ndarray, float]:
    variance = np.diagonal(sxx) / moments.count()
    varies = variance > CONSTANT * (variance + moments.mean_of(x) ** 2)
    scale = np.where(varies, _inverse(np.sqrt(np.diagonal(sxx).clip(0))), 0.0)
    values, vectors = _eigh(sxx * scale[:, None] * scale)
    floor = NOISE[moments.attrs.get("precision", "float64")] * max(values[-1], 0.0)
    keep = values > floor
    basis = vectors[:, keep] * scale[:, None]
    weights = _product(basis, _product(basis.T, sxy) / values[keep, None])
    return weights, float(keep.sum())


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending eigenvalues and eigenvectors (columns), by torch's LAPACK (faster than NumPy's)."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b by torch, as all large products here: NumPy's own thread pool would fight torch's."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def _inverse(values: np.ndarray) -> np.ndarray:
    """1 / values where positive, else 0: directions without variance get no weight."""
    positive = values > 0
    return np.where(positive, 1.0 / np.where(positive, values, 1.0), 0.0)
