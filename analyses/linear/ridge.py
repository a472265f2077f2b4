"""Least squares and ridge regression on arrays.

For centred rows X (row, x channel) and Y (row, y channel), with the scatters Sxx = X^T X and
Sxy = X^T Y, the map that minimises |Y - X W|^2 + penalty |W|^2 is

    W = (Sxx + penalty I)^-1 Sxy,    penalty = ridge * trace(Sxx) / dx.

`ridge` is relative to the mean eigenvalue of Sxx and does not depend on the number of rows. One
eigendecomposition of Sxx, or of X X^T if there are fewer rows than channels, serves every ridge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

RIDGES = tuple(float(r) for r in 10.0 ** np.arange(-6.0, 1.01, 0.25))  # path for ridge="auto"
# Smallest eigenvalue of the correlation matrix, relative to the largest, distinguishable from
# rounding, per precision of the products. Measured in null directions (640 of 1280 channels, 8192
# tokens): at most 4e-8 after float32 products and 1e-15 after float64 ones.
NOISE = {"float32": 1e-6, "float64": 1e-12}


def solve_ridge(sxx: np.ndarray, sxy: np.ndarray, ridge: float) -> tuple[np.ndarray, float]:
    """W, dims (x channel, y channel), for one positive ridge, and its effective degrees of freedom.

    The degrees of freedom are the trace of the hat matrix, dx - penalty * trace((Sxx + penalty
    I)^-1). By Cholesky factor; by eigenvectors where rounding of Sxx exceeds a very small penalty.
    """
    penalty = penalty_of(sxx, ridge)
    eye = torch.eye(len(sxx), dtype=torch.float64)
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(sxx) + penalty * eye)
    if penalty == 0 or failed:
        values, vectors = _eigh(sxx)
        shrink = _inverse(values + penalty)
        weights = _product(vectors, shrink[:, None] * _product(vectors.T, sxy))
        return weights, float((values * shrink).sum())
    weights = torch.cholesky_solve(torch.from_numpy(sxy), factor).numpy()
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    return weights, len(sxx) - penalty * float(inverse.square().sum())


def solve_least_squares(
    sxx: np.ndarray, sxy: np.ndarray, varies: np.ndarray, noise: float = NOISE["float64"]
) -> tuple[np.ndarray, float]:
    """W of minimum norm, safe for duplicated, dependent and constant channels, and its rank.

    float64, dims (x channel, y channel).

    Each channel is scaled to unit variance; directions of the correlation matrix that cannot be
    told from rounding are left out.

    Parameters
    ----------
    sxx, sxy : float64 arrays, dims (x channel, x channel), (x channel, y channel)
    varies : bool array, dims (x channel,)
        Channels that are not constant; the others get no weight.
    noise : float
        Largest eigenvalue of the correlation matrix that counts as rounding, relative to its
        largest one.
    """
    scale = np.where(varies, _inverse(np.sqrt(np.diagonal(sxx).clip(0))), 0.0)
    values, vectors = _eigh(sxx * scale[:, None] * scale)
    keep = values > noise * max(values[-1], 0.0)
    basis = vectors[:, keep] * scale[:, None]
    weights = _product(basis, _product(basis.T, sxy) / values[keep, None])
    return weights, float(keep.sum())


def solve_rows(x: np.ndarray, y: np.ndarray, ridges: Sequence[float] | np.ndarray) -> np.ndarray:
    """W for every ridge, from centred rows; float64, dims (ridge, x channel, y channel).

    With n rows and n <= dx, X X^T = U diag(s) U^T gives W = X^T U diag(1 / (s + penalty)) U^T Y
    with less work than Sxx = V diag(s) V^T, which gives W = V diag(1 / (s + penalty)) V^T Sxy.
    """
    if len(x) <= x.shape[1]:
        s, u = _eigh(_product(x, x.T))
        basis, target = _product(x.T, u), _product(u.T, y)
    else:
        s, basis = _eigh(_product(x.T, x))
        target = _product(basis.T, _product(x.T, y))
    s = s.clip(0)
    penalties = np.asarray(ridges) * s.sum() / x.shape[1]
    return np.stack([_product(basis, _inverse(s + p)[:, None] * target) for p in penalties])


def held_out_losses(
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray, float],
    ridges: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Summed squared error on held-out rows of the map for every ridge: float64, dims (ridge,).

    With V, d the eigenvectors and eigenvalues of the training Sxx, A = V^T Sxy and
    r = 1 / (d + penalty), the map is W = V diag(r) A. With the held-out scatters about the training
    means marked ', its squared error is

        trace Syy' - 2 r . rowsum(A * V^T Sxy') + r^T ((V^T Sxx' V) * (A A^T)) r,

    so that every further ridge costs dx^2. `train` is (Sxx, Sxy), `held_out` (Sxx', Sxy', trace
    Syy').
    """
    (sxx, sxy), (held_xx, held_xy, held_yy) = train, held_out
    values, vectors = _eigh(sxx)
    a = _product(vectors.T, sxy)
    cross = (a * _product(vectors.T, held_xy)).sum(1)
    quadratic = _product(_product(vectors.T, held_xx), vectors) * _product(a, a.T)
    losses = []
    for ridge in ridges:
        r = _inverse(values + penalty_of(sxx, ridge))
        losses.append(held_yy - 2 * r @ cross + r @ quadratic @ r)
    return np.array(losses)


def explained(weights: np.ndarray, sxx: np.ndarray, sxy: np.ndarray) -> np.ndarray:
    """Reduction of each target's sum of squares by W: diag(2 W^T Sxy - W^T Sxx W), (y channel,)."""
    return 2 * (weights * sxy).sum(0) - (weights * _product(sxx, weights)).sum(0)


def penalty_of(sxx: np.ndarray, ridge: float) -> float:
    """The penalty in the units of Sxx, as in scikit-learn's ``Ridge(alpha)``."""
    return ridge * float(np.trace(sxx)) / len(sxx)


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
