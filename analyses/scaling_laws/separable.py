"""Separable least squares with non-negative coefficients, for many problems at once.

Claim: a scaling law is linear in its coefficients once its exponents are fixed,

    y_i ≈ Σ_j w_j φ_j(i; θ),   w ≥ 0,   lower ≤ θ ≤ upper,

so the coefficients are solved exactly for every trial of the exponents (variable projection), and
only θ, the logarithms of the exponents, is searched. The search is Levenberg and Marquardt's with
Kaufman's Jacobian. It runs on many problems at once: all starts of a fit, or all replicates of a
bootstrap, form one batch.

Shapes: P problems, n runs, k coefficients, m exponents.

Source: Golub & Pereyra 1973 (variable projection), Kaufman 1975 (the Jacobian), Lawson & Hanson
1974 (non-negative least squares), used for eq. (2) and (3) of "Getting ViT in Shape".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]


class LawBasis(Protocol):
    """The functions φ of one law, evaluated at the runs of one table."""

    exponents: tuple[str, ...]
    """Names of θ, in order."""
    coefficients: tuple[str, ...]
    """Names of w, in order."""
    lower: Array
    """Lower bounds of θ, (m,)."""
    upper: Array
    """Upper bounds of θ, (m,)."""

    def columns(self, theta: Array) -> Array:
        """φ at θ (P, m): array (P, n, k)."""

    def slopes(self, theta: Array, weights: Array) -> Array:
        """∂(Σ_j w_j φ_j)/∂θ at θ (P, m) and w (P, k): array (P, n, m)."""


@dataclass(frozen=True, kw_only=True)
class SeparableFit:
    """Best exponents, coefficients and residuals of P problems."""

    theta: Array
    """Logarithms of the exponents, (P, m)."""
    weights: Array
    """Coefficients, (P, k), none negative."""
    residual: Array
    """y − fit times the root weight of each run, (P, n)."""
    cost: Array
    """Half the sum of squared residuals, (P,)."""

    def take(self, rows: NDArray[np.int64]) -> SeparableFit:
        """The problems at `rows`."""
        return SeparableFit(
            theta=self.theta[rows],
            weights=self.weights[rows],
            residual=self.residual[rows],
            cost=self.cost[rows],
        )


def solve_coefficients(columns: Array, y: Array) -> Array:
    """Non-negative least squares of y (P, n) on columns (P, n, k): coefficients (P, k).

    A batched QR solves the problems whose unconstrained solution is non-negative. A second one
    solves the problems that become optimal with their most negative coefficient at zero. The others
    go through Lawson and Hanson's algorithm on the k × k triangles. All three are exact.
    """
    norms = np.linalg.norm(columns, axis=1)
    norms[norms == 0] = 1.0
    q, r = np.linalg.qr(columns / norms[:, None, :])
    target = np.einsum("pnk,pn->pk", q, y)
    diagonal = np.abs(np.diagonal(r, axis1=1, axis2=2))
    regular = diagonal.min(axis=1) > 1e-13
    solution = np.full_like(target, -1.0)
    if regular.any():
        solution[regular] = np.linalg.solve(r[regular], target[regular][..., None])[..., 0]
    failed = np.flatnonzero(regular & (solution < 0).any(axis=1))
    solution[failed] = _drop_one(r[failed], target[failed], solution[failed].argmin(axis=1))
    for p in np.flatnonzero((solution < 0).any(axis=1)):
        solution[p] = nnls(r[p], target[p])[0]
    return solution / norms


def _drop_one(r: Array, target: Array, dropped: NDArray[np.int64]) -> Array:
    """Solutions of r w = target without column `dropped`; −1 where a coefficient is negative.

    The cost, minimised over the other coefficients, is convex in the dropped one, and its minimum
    is below zero. Among non-negative values zero is therefore best, and a solution in which the
    other coefficients are non-negative is the optimum.
    """
    out = np.full_like(target, -1.0)
    for column in np.unique(dropped):
        rows = np.flatnonzero(dropped == column)
        kept = np.delete(np.arange(r.shape[2]), column)
        q, triangle = np.linalg.qr(r[rows][:, :, kept])
        inner = np.einsum("pij,pi->pj", q, target[rows])
        weights = np.linalg.solve(triangle, inner[..., None])[..., 0]
        optimal = (weights >= 0).all(axis=1)
        out[np.ix_(rows[optimal], kept)] = weights[optimal]
        out[rows[optimal], column] = 0.0
    return out


def descend(
    basis: LawBasis,
    y: Array,
    theta: Array,
    root_weights: Array,
    *,
    steps: int = 150,
    tolerance: float = 1e-10,
) -> SeparableFit:
    """Local optimum of each of P problems from its own start.

    Parameters
    ----------
    basis : LawBasis
        The law at the n runs, shared by all problems.
    y : array (P, n)
        Targets.
    theta : array (P, m)
        Starts, inside the bounds.
    root_weights : array (P, n)
        Square roots of the runs' weights.
    steps : int
        Maximum number of iterations.
    tolerance : float
        A problem is done when an accepted step lowers its cost by less than this share.
    """
    theta = np.clip(theta, basis.lower, basis.upper)
    best = _evaluate(basis, y, theta, root_weights)
    damping = np.full(len(theta), 1e-2)
    running = np.arange(len(theta))
    scale = np.maximum(np.einsum("pn,pn->p", root_weights * y, root_weights * y), 1e-300)
    for _ in range(steps):
        if len(running) == 0:
            break
        here = best.take(running)
        move = _step(basis, here, root_weights[running], damping[running])
        trial_theta = np.clip(here.theta + move, basis.lower, basis.upper)
        trial = _evaluate(basis, y[running], trial_theta, root_weights[running])
        better = trial.cost < here.cost
        _replace(best, running[better], trial, better)
        damping[running] = np.where(better, damping[running] * 0.2, damping[running] * 6.0)
        damping[running] = np.maximum(damping[running], 1e-12)
        exact = trial.cost < 1e-28 * scale[running]
        done = _finished(here, trial, exact, damping[running] > 1e10, tolerance)
        running = running[~done]
    return best


def _finished(
    here: SeparableFit,
    trial: SeparableFit,
    exact: NDArray[np.bool_],
    exhausted: NDArray[np.bool_],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Which problems have settled (a step gains or moves too little) or are stuck."""
    better = trial.cost < here.cost
    moved = np.abs(trial.theta - here.theta).max(axis=1)
    little = (here.cost - trial.cost < tolerance * here.cost) | exact
    settled = better & (little | (moved < 1e-9))
    return settled | (~better & (exhausted | (moved < 1e-11)))


def huber_weights(residual: Array, parameters: int, floor: Array) -> Array:
    """Root weights (P, n) of Huber's loss at 1.345 robust standard deviations.

    The deviation is 1.4826 × the median absolute residual, enlarged by √(n/(n − parameters));
    `floor` (P,) keeps a noise-free fit from weighting rounding errors.
    """
    n = residual.shape[1]
    inflate = np.sqrt(n / max(n - parameters, 1))
    spread = 1.4826 * np.median(np.abs(residual), axis=1) * inflate
    limit = 1.345 * np.maximum(spread, floor)[:, None]
    return np.sqrt(np.minimum(1.0, limit / np.maximum(np.abs(residual), 1e-300)))


def best_of(solution: SeparableFit, groups: int) -> SeparableFit:
    """The problem of least cost in each group; P = groups × starts, starts varying fastest."""
    cost = solution.cost.reshape(groups, -1)
    starts = cost.shape[1]
    return solution.take(np.arange(groups) * starts + cost.argmin(axis=1))


def grid_starts(basis: LawBasis, y: Array, root_weights: Array, keep: int) -> Array:
    """The best `keep` of a fixed set of points in the box of exponents: (keep, m)."""
    m = len(basis.lower)
    per_side = max(2, int(400 ** (1 / m)))
    if m <= 3:
        axes = [np.linspace(0.08, 0.92, per_side)] * m
        unit = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, m)
    else:
        unit = np.random.default_rng(0).uniform(0.05, 0.95, size=(600, m))
    theta = basis.lower + unit * (basis.upper - basis.lower)
    repeated = (len(theta), len(y))
    solution = _evaluate(
        basis, np.broadcast_to(y, repeated), theta, np.broadcast_to(root_weights, repeated)
    )
    return theta[np.argsort(solution.cost, kind="stable")[:keep]]


def _evaluate(basis: LawBasis, y: Array, theta: Array, root_weights: Array) -> SeparableFit:
    columns = basis.columns(theta) * root_weights[:, :, None]
    target = y * root_weights
    weights = solve_coefficients(columns, target)
    residual = target - np.einsum("pnk,pk->pn", columns, weights)
    cost = 0.5 * np.einsum("pn,pn->p", residual, residual)
    return SeparableFit(theta=theta, weights=weights, residual=residual, cost=cost)


def _step(basis: LawBasis, here: SeparableFit, root_weights: Array, damping: Array) -> Array:
    """Damped Gauss-Newton step (P, m); exponents held at a bound stay there."""
    columns = basis.columns(here.theta) * root_weights[:, :, None]
    slopes = basis.slopes(here.theta, here.weights) * root_weights[:, :, None]
    jacobian = -_project_out(columns, here.weights > 0, slopes)
    normal = np.einsum("pnm,pnl->pml", jacobian, jacobian)
    gradient = np.einsum("pnm,pn->pm", jacobian, here.residual)
    held = (here.theta <= basis.lower) & (gradient > 0)
    held |= (here.theta >= basis.upper) & (gradient < 0)
    gradient = np.where(held, 0.0, gradient)
    diagonal = np.diagonal(normal, axis1=1, axis2=2)
    ridge = damping[:, None] * diagonal + 1e-14 * (diagonal.max(axis=1, keepdims=True) + 1e-300)
    free = ~held
    normal = normal * (free[:, :, None] & free[:, None, :])
    eye = np.eye(normal.shape[1])
    normal = normal + eye * np.where(held, 1.0, ridge)[:, None, :]
    return np.clip(-np.linalg.solve(normal, gradient[..., None])[..., 0], -2.0, 2.0)


def _project_out(columns: Array, active: NDArray[np.bool_], vectors: Array) -> Array:
    """Part of vectors (P, n, m) orthogonal to the active columns of each problem."""
    out = np.empty_like(vectors)
    patterns, which = np.unique(active, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == number)
        q = np.linalg.qr(columns[rows][:, :, pattern])[0]
        inner = np.einsum("pnk,pnm->pkm", q, vectors[rows])
        out[rows] = vectors[rows] - np.einsum("pnk,pkm->pnm", q, inner)
    return out


def _replace(
    best: SeparableFit, rows: NDArray[np.int64], trial: SeparableFit, chosen: NDArray[np.bool_]
) -> None:
    best.theta[rows] = trial.theta[chosen]
    best.weights[rows] = trial.weights[chosen]
    best.residual[rows] = trial.residual[chosen]
    best.cost[rows] = trial.cost[chosen]
