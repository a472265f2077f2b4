"""The decomposable law of all shape dimensions together, eq. (3) of "Getting ViT in Shape".

    f(x, t) = Σ_k α_k x_k^(−a_k) + Σ_k β_k x_k^(b_k) t^(−c) + ξ t^(−c) + ε

Claim: with one c, ξ and ε for all dimensions, the runs of all legs of a star are fitted at once. A
fit of a single dimension absorbs the terms of the others into its own ξ_k and ε_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.scaling_laws.fitting import (
    FitOptions,
    bootstrap,
    expanded_interval,
    fit,
    unidentified,
)
from analyses.scaling_laws.runs import positive, require_spread
from analyses.scaling_laws.separable import Array, SeparableFit
from analyses.scaling_laws.shape_basis import ShapeBasis
from feature_store.errors import InputError


@dataclass(frozen=True, kw_only=True)
class JointLaw:
    """Eq. (3) with its parameters; tuples run over the dimensions."""

    dimensions: tuple[str, ...]
    """Names of the D dimensions."""
    a: tuple[float, ...]
    """Exponents of the bottleneck terms."""
    b: tuple[float, ...]
    """Exponents of the costs of size."""
    c: float
    """Exponent of compute."""
    alpha: tuple[float, ...]
    """Coefficients of the bottleneck terms."""
    beta: tuple[float, ...]
    """Coefficients of the costs of size."""
    xi: float
    """Coefficient of compute alone."""
    epsilon: float
    """Metric in the limit of large size and compute."""

    @property
    def s(self) -> tuple[float, ...]:
        """Scaling exponent c/(a_k + b_k) of each dimension."""
        return tuple(self.c / (a + b) for a, b in zip(self.a, self.b, strict=True))

    def metric(self, x: Array, t: Array) -> Array:
        """f(x, t) for shapes x (n, D) and compute t (n,): (n,)."""
        size = (np.asarray(self.alpha) * x ** -np.asarray(self.a)).sum(axis=1)
        cost = (np.asarray(self.beta) * x ** np.asarray(self.b)).sum(axis=1) + self.xi
        return size + cost * t ** (-self.c) + self.epsilon

    def optimum(self, t: float) -> dict[str, float]:
        """Optimum of every dimension at compute t: eq. (4), as the law decomposes."""
        terms = zip(self.dimensions, self.a, self.b, self.alpha, self.beta, strict=True)
        return {
            name: float(np.divide(alpha * a * t**self.c, beta * b) ** (1 / (a + b)))
            for name, a, b, alpha, beta in terms
        }


@dataclass(frozen=True, kw_only=True)
class JointFit:
    """Fitted joint law and its checks."""

    law: JointLaw
    """The fitted law."""
    intervals: dict[str, tuple[float, float]]
    """Intervals of `c` and of `s_DIMENSION`."""
    r2: float
    """Share of the metric's variance that the law explains."""
    unidentified: dict[str, str]
    """Parameters that the runs do not determine."""
    runs: pd.DataFrame
    """The runs with `predicted`."""


def compute(
    runs: pd.DataFrame,
    dimensions: Sequence[str] = ("width", "depth", "mlp"),
    options: FitOptions | None = None,
) -> JointFit:
    """Fit eq. (3) to runs with one column per dimension, `compute` and `metric`.

    Raises
    ------
    InputError
        Missing columns, bad cells, no more runs than the 4D + 3 parameters, or a parameter that
        the runs do not determine (unless allowed).
    """
    options = options or FitOptions()
    names = tuple(dimensions)
    table = positive(runs, (*names, "compute", "metric"))
    size = 4 * len(names) + 3
    if len(table) <= size:
        raise InputError(
            f"{len(table)} runs for the {size} parameters of eq. (3) in {len(names)} dimensions; "
            f"at least {size + 1} are needed"
        )
    for name in (*names, "compute"):
        require_spread(table[name], 3, "its curve determines its exponents")
    x, t = table[list(names)].to_numpy(), table["compute"].to_numpy()
    y = table["metric"].to_numpy()
    basis = ShapeBasis(x, t, names if len(names) > 1 else ("",))
    solution = fit(basis, y, options)
    missing = unidentified(basis, solution, y)
    if missing and not options.allow_unidentified:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise InputError(f"these runs do not determine {reasons}; vary the dimensions further")
    law = _law(basis, solution.theta, solution.weights, names)
    predicted = law.metric(x, t)
    r2 = float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    return JointFit(
        law=law,
        intervals=_intervals(basis, y, solution, options, names),
        r2=r2,
        unidentified=missing,
        runs=table.assign(predicted=predicted),
    )


def _intervals(
    basis: ShapeBasis, y: Array, solution: SeparableFit, options: FitOptions, names: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    if not options.resamples:
        return {}
    exponents = np.exp(bootstrap(basis, y, solution, options).theta)
    d = len(names)
    values = exponents[:, -1:] / (exponents[:, :d] + exponents[:, d : 2 * d])
    freedom = len(y) - len(basis.exponents) - len(basis.coefficients)
    ends = expanded_interval(
        np.column_stack([values, exponents[:, -1]]), freedom, options.confidence
    )
    keys = [*(f"s_{name}" for name in names), "c"]
    return {key: (float(a), float(b)) for key, a, b in zip(keys, *ends, strict=True)}


def _law(basis: ShapeBasis, theta: Array, weights: Array, names: tuple[str, ...]) -> JointLaw:
    exponents, coefficients = basis.in_units(theta, weights)
    d = len(names)
    return JointLaw(
        dimensions=names,
        a=tuple(map(float, exponents[0, :d])),
        b=tuple(map(float, exponents[0, d : 2 * d])),
        c=float(exponents[0, -1]),
        alpha=tuple(map(float, coefficients[0, :d])),
        beta=tuple(map(float, coefficients[0, d : 2 * d])),
        xi=float(coefficients[0, -2]),
        epsilon=float(coefficients[0, -1]),
    )
