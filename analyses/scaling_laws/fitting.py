"""Fit one law to one table of runs: starts, robust loss, identifiability, bootstrap intervals.

Everything here works on any separable law (:class:`~analyses.scaling_laws.separable.LawBasis`).

Intervals come from a residual bootstrap. The design (which shapes, which budgets) is kept; centred
residuals, divided by √(1 − leverage), are drawn with replacement, singly or in blocks that share
their noise. Percentiles are taken at the expanded level Φ(−t), with t the Student quantile at
n − p degrees of freedom, because plain percentiles are too narrow for the two dozen runs of a
typical sweep.

Source: Efron & Tibshirani 1993 chapter 9 (residual bootstrap), Hesterberg 2015 section 5.2
(expanded percentiles), Huber 1964 (loss).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from analyses.scaling_laws.separable import (
    Array,
    LawBasis,
    SeparableFit,
    best_of,
    descend,
    grid_starts,
    huber_weights,
)
from feature_store.errors import InputError, require_choices

_STARTS = 12
_REWEIGHTINGS = 3
_REFIT_TOLERANCE = 1e-7  # of bootstrap refits: far below the spread between them


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a law is fitted and how its intervals are made."""

    loss: Literal["huber", "linear"] = "huber"
    """`huber` bounds the pull of one failed run; `linear` is plain least squares."""
    residuals: Literal["absolute", "relative"] = "absolute"
    """Whether errors count in units of the metric or as a share of it."""
    resamples: int = 500
    """Replicates behind the intervals; 0 gives none."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Seed of the bootstrap."""
    allow_unidentified: bool = False
    """Return a fit, with the reasons, even if the runs do not determine all of its parameters."""

    def __post_init__(self) -> None:
        require_choices(self)
        if self.resamples < 0 or 0 < self.resamples < 20:
            raise InputError(f"resamples must be 0 or at least 20, got {self.resamples}")
        if not 0.5 <= self.confidence < 1:
            raise InputError(f"confidence is {self.confidence}; expected 0.5 to below 1")


def fit(basis: LawBasis, y: Array, options: FitOptions) -> SeparableFit:
    """Best law for targets y (n,): a fit of one problem (P = 1)."""
    base = run_weights(y, options)
    starts = grid_starts(basis, y, base[0], _STARTS)
    many = (len(starts), len(y))
    solution = descend(basis, np.broadcast_to(y, many), starts, np.broadcast_to(base, many).copy())
    return reweight(basis, y[None], best_of(solution, 1), base, options)


def run_weights(y: Array, options: FitOptions) -> Array:
    """Root weights (1, n) before any robust reweighting."""
    return 1 / np.abs(y)[None] if options.residuals == "relative" else np.ones((1, len(y)))


def reweight(
    basis: LawBasis,
    y: Array,
    solution: SeparableFit,
    base: Array,
    options: FitOptions,
    tolerance: float = 1e-10,
) -> SeparableFit:
    """Iteratively reweighted refits of P problems; for a linear loss, the fit as it is."""
    if options.loss == "linear":
        return solution
    size = len(basis.exponents) + len(basis.coefficients)
    floor = 1e-12 * np.abs(y * base).max(axis=1)
    for _ in range(_REWEIGHTINGS):
        residual = (y - fitted(basis, solution)) * base
        robust = base * huber_weights(residual, size, floor)
        solution = descend(basis, y, solution.theta.copy(), robust, steps=60, tolerance=tolerance)
    return solution


def fitted(basis: LawBasis, solution: SeparableFit) -> Array:
    """Values of the law at the basis' runs: (P, n)."""
    return np.einsum("pnk,pk->pn", basis.columns(solution.theta), solution.weights)


def log_jacobian(basis: LawBasis, solution: SeparableFit) -> Array:
    """Derivatives (n, m + k) of the first problem's law by the logarithms of its parameters.

    The column of a coefficient that is zero is zero.
    """
    slopes = basis.slopes(solution.theta, solution.weights)[0]
    columns = basis.columns(solution.theta)[0] * solution.weights[0]
    return np.concatenate([slopes, columns], axis=1)


def unidentified(basis: LawBasis, solution: SeparableFit, y: Array) -> dict[str, str]:
    """Exponents that the runs do not determine, each with its reason; empty if there are none.

    An exponent is not determined if its term has coefficient zero, if it ran to an end of its
    range, or if the derivatives by the parameters are linearly dependent.
    """
    jacobian = log_jacobian(basis, solution)
    moves = np.abs(jacobian).max(axis=0)
    reasons: dict[str, str] = {}
    for i, name in enumerate(basis.exponents):
        low, high = np.exp(basis.lower[i]), np.exp(basis.upper[i])
        value = np.exp(solution.theta[0, i])
        if moves[i] <= 1e-12 * np.abs(y).max():
            reasons[name] = "its term has coefficient zero, so no run depends on it"
        elif value >= high * 0.999:
            reasons[name] = f"it ran to the upper end of its range, {high:g}: a step, not a power"
        elif value <= low * 1.001:
            reasons[name] = (
                f"it ran to the lower end of its range, {low:g}: a constant, not a power"
            )
    if reasons:
        return reasons
    seen = moves > 0
    names = [n for n, s in zip([*basis.exponents, *basis.coefficients], seen, strict=True) if s]
    scaled = jacobian[:, seen] / np.linalg.norm(jacobian[:, seen], axis=0)
    _, singular, directions = np.linalg.svd(scaled, full_matrices=True)
    if len(singular) < len(names) or singular[-1] < 1e-8 * singular[0]:
        together = [n for n, v in zip(names, directions[-1], strict=True) if abs(v) > 0.2]
        text = "changes of " + ", ".join(together) + " can cancel without changing any run's fit"
        return dict.fromkeys(together, text)
    return {}


def bootstrap(
    basis: LawBasis,
    y: Array,
    solution: SeparableFit,
    options: FitOptions,
    blocks: NDArray[np.int64] | None = None,
) -> SeparableFit:
    """Refits of `options.resamples` tables with resampled residuals.

    Parameters
    ----------
    basis : LawBasis
        The law at the runs.
    y : array (n,)
        Targets.
    blocks : array (n,) of int, optional
        Runs of one block share their noise and are redrawn together. Blocks have equal sizes and
        list their runs in the same order. Without blocks, runs are redrawn singly.
    """
    rng = np.random.default_rng(options.seed)
    base = run_weights(y, options)
    centre = fitted(basis, solution)[0]
    residual = (y - centre) * base[0] / np.sqrt(1 - leverage(basis, solution, base[0]))
    residual = residual - residual.mean()
    drawn = _draw(rng, residual, options.resamples, blocks) / base
    targets = centre + drawn
    starts = np.concatenate([solution.theta, grid_starts(basis, y, base[0], 1)])
    repeated = np.repeat(targets, len(starts), axis=0)
    theta = np.tile(starts, (options.resamples, 1))
    weights = np.broadcast_to(base, repeated.shape)
    rough = best_of(
        descend(basis, repeated, theta, weights, tolerance=_REFIT_TOLERANCE), options.resamples
    )
    wide = np.broadcast_to(base, targets.shape)
    return reweight(basis, targets, rough, wide, options, _REFIT_TOLERANCE)


def leverage(basis: LawBasis, solution: SeparableFit, base: Array) -> Array:
    """Diagonal of the hat matrix of the linearised law, (n,), at most 0.95."""
    jacobian = log_jacobian(basis, solution) * base[:, None]
    q, r = np.linalg.qr(jacobian[:, np.abs(jacobian).max(axis=0) > 0])
    diagonal = np.abs(np.diagonal(r))
    q = q[:, diagonal > 1e-12 * diagonal.max()]
    return np.minimum((q**2).sum(axis=1), 0.95)


def expanded_interval(replicates: Array, freedom: int, confidence: float) -> Array:
    """Expanded percentile interval along the first axis: (2, ...)."""
    tail = ndtr(-stdtrit(max(freedom, 1), (1 + confidence) / 2))
    return np.quantile(replicates, [tail, 1 - tail], axis=0)


def _draw(
    rng: np.random.Generator, residual: Array, count: int, blocks: NDArray[np.int64] | None
) -> Array:
    """`count` tables of resampled residuals, (count, n)."""
    n = len(residual)
    if blocks is None:
        return residual[rng.integers(n, size=(count, n))]
    members = [np.flatnonzero(blocks == b) for b in np.unique(blocks)]
    if len({len(m) for m in members}) != 1:
        raise InputError(
            "block resampling needs blocks of one size, got blocks of "
            f"{sorted({len(m) for m in members})} runs; give a complete table or no blocks"
        )
    table = np.stack([residual[m] for m in members])
    picks = rng.integers(len(members), size=(count, len(members)))
    out = np.empty((count, n))
    for position, member in enumerate(members):
        out[:, member] = table[picks[:, position]]
    return out
