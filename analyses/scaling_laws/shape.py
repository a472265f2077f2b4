"""Fit the shape law of "Getting ViT in Shape" to a table of runs.

Claim: the seven positive parameters of eq. (2) (see :mod:`~analyses.scaling_laws.shape_law`), and
with them s = c/(a + b), follow from a star sweep; each dimension is fitted on its own leg.

Source: sections 3 and 4.1; the held-out check is that of figure 4, left.
Deviations: a coefficient may be zero, the closure of "positive"; the fit then carries a warning.
The reported law uses every run; the held-out check refits without the star's centre.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from analyses.scaling_laws.fitting import (
    FitOptions,
    bootstrap,
    expanded_interval,
    fit,
    unidentified,
)
from analyses.scaling_laws.runs import positive, require_spread, split_star
from analyses.scaling_laws.separable import Array, SeparableFit
from analyses.scaling_laws.shape_basis import ShapeBasis
from analyses.scaling_laws.shape_checks import lack_of_fit, quality, warnings
from analyses.scaling_laws.shape_law import PARAMETERS, ShapeLaw
from feature_store.errors import InputError, require_choices

_REMEDY = {
    "a": "add smaller values, where the dimension is a bottleneck",
    "b": "add larger values or smaller budgets, where too large a value costs",
    "c": "add budgets that are further apart",
}


@dataclass(frozen=True, kw_only=True)
class ShapeLawConfig:
    """How the law is fitted and checked."""

    holdout: Literal["largest", "none"] = "largest"
    """`largest` refits without the largest value of the dimension (a star's centre) and predicts
    it; `none` skips that check. The reported law always uses every run."""
    options: FitOptions = field(default_factory=FitOptions)
    """How each fit is made."""

    def __post_init__(self) -> None:
        require_choices(self)


@dataclass(frozen=True, kw_only=True)
class ShapeFit:
    """One dimension's fitted law, its intervals and its checks."""

    dimension: str
    """Name of the dimension."""
    law: ShapeLaw
    """The fitted law."""
    intervals: dict[str, tuple[float, float]]
    """Interval of each parameter and of `s`; empty without a bootstrap."""
    quality: dict[str, float]
    """`runs`, `r2`, `rms`, `max_error`; with repeated runs `repeat_rms` and `lack_of_fit_p`."""
    holdout: dict[str, Any]
    """`value`, `runs`, `rms`, `mean_relative_error`, `s` of the held-out check, or `reason`."""
    warnings: tuple[str, ...]
    """Caveats about the parameters, one sentence each."""
    unidentified: dict[str, str]
    """Parameters that the runs do not determine; empty unless they were allowed."""
    runs: pd.DataFrame
    """The runs with `predicted` and, for the held-out ones, `extrapolated`."""
    replicates: pd.DataFrame
    """Parameters of the bootstrap replicates."""

    def row(self) -> dict[str, Any]:
        """One flat record: parameters, `*_low`, `*_high`, quality, `holdout_*`, warnings."""
        values = {name: getattr(self.law, name) for name in (*PARAMETERS, "s")}
        record: dict[str, Any] = {"dimension": self.dimension, **values}
        for name, (low, high) in self.intervals.items():
            record |= {f"{name}_low": low, f"{name}_high": high}
        record |= self.quality
        record |= {f"holdout_{name}": value for name, value in self.holdout.items()}
        record |= {"unidentified": self.unidentified, "warnings": list(self.warnings)}
        return record

    def __repr__(self) -> str:
        """Dimension, exponent and runs; :meth:`row` has the rest."""
        ends = self.intervals.get("s")
        bracket = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
        notes = f", {len(self.warnings)} warnings" if self.warnings else ""
        exponent = f"s = {self.law.s:.3f}{bracket}"
        return f"<ShapeFit {self.dimension}: {exponent}, {len(self.runs)} runs{notes}>"


def compute(runs: pd.DataFrame, config: ShapeLawConfig | None = None) -> list[ShapeFit]:
    """Fit eq. (2) to each dimension of a table of runs.

    Parameters
    ----------
    runs : pandas.DataFrame
        One run per row: `value` (size of the dimension), `compute` (any unit), `metric` (lower is
        better), all positive; optionally `dimension`, with `centre` for the star's centre.

    Raises
    ------
    InputError
        Missing columns, bad cells, fewer than 8 runs or 3 distinct values or budgets, or a
        parameter that the runs do not determine (unless allowed).
    """
    config = config or ShapeLawConfig()
    required = (
        ("compute", "metric") if "dimension" in runs.columns else ("value", "compute", "metric")
    )
    checked = positive(runs, required)
    legs = split_star(checked)
    return [_fit_leg(name, positive(leg, ("value",)), config) for name, leg in legs.items()]


def _fit_leg(name: str, runs: pd.DataFrame, config: ShapeLawConfig) -> ShapeFit:
    _check_design(name, runs)
    options = config.options
    basis, solution, missing = _solve(runs, options)
    if missing and not options.allow_unidentified:
        raise InputError(_refusal(name, missing))
    law = _law(basis, solution)
    y = runs["metric"].to_numpy()
    predicted = law.metric(runs["value"].to_numpy(), runs["compute"].to_numpy())
    replicates, intervals = _intervals(basis, solution, y, options)
    holdout, extrapolated = _hold_out(runs, config)
    table = runs.assign(predicted=predicted, extrapolated=extrapolated)
    checks = quality(y, predicted) | lack_of_fit(table, len(PARAMETERS), options)
    return ShapeFit(
        dimension=name,
        law=law,
        intervals=intervals,
        quality=checks,
        holdout=holdout,
        warnings=tuple(warnings(law, replicates, checks)),
        unidentified=missing,
        runs=table,
        replicates=replicates,
    )


def _check_design(name: str, runs: pd.DataFrame) -> None:
    least = len(PARAMETERS) + 1
    if len(runs) < least:
        raise InputError(
            f"dimension {name!r} has {len(runs)} runs; eq. (2) has {len(PARAMETERS)} parameters, "
            f"so at least {least} runs are needed"
        )
    require_spread(runs["value"], 3, "its curve determines a, b and the two constants")
    require_spread(runs["compute"], 3, "its curve determines c and the two constants")
    correlation = np.corrcoef(np.log(runs["value"]), np.log(runs["compute"]))[0, 1]
    if correlation**2 > 1 - 1e-6:
        raise InputError(
            f"dimension {name!r}: these runs do not determine b and c (compute is a power of "
            "value, so the cost of size and the gain from compute cannot be told apart); train "
            "some values at several budgets"
        )


def _solve(
    runs: pd.DataFrame, options: FitOptions
) -> tuple[ShapeBasis, SeparableFit, dict[str, str]]:
    basis = ShapeBasis(runs[["value"]].to_numpy(), runs["compute"].to_numpy())
    y = runs["metric"].to_numpy()
    solution = fit(basis, y, options)
    return basis, solution, unidentified(basis, solution, y)


def _refusal(name: str, missing: dict[str, str]) -> str:
    parts = [
        f"{parameter} ({reason}; {_REMEDY.get(parameter, 'vary value and compute independently')})"
        for parameter, reason in missing.items()
    ]
    return (
        f"dimension {name!r}: these runs do not determine {', and '.join(parts)}. Add such runs, "
        "or allow unidentified parameters to get the fit with these reasons"
    )


def _law(basis: ShapeBasis, solution: SeparableFit) -> ShapeLaw:
    exponents, coefficients = basis.in_units(solution.theta, solution.weights)
    values = [float(v) for v in (*exponents[0], *coefficients[0])]
    return ShapeLaw(**dict(zip(PARAMETERS, values, strict=True)))


def _intervals(
    basis: ShapeBasis, solution: SeparableFit, y: Array, options: FitOptions
) -> tuple[pd.DataFrame, dict[str, tuple[float, float]]]:
    if not options.resamples:
        return pd.DataFrame(columns=[*PARAMETERS, "s"]), {}
    drawn = bootstrap(basis, y, solution, options)
    exponents, coefficients = basis.in_units(drawn.theta, drawn.weights)
    frame = pd.DataFrame(np.concatenate([exponents, coefficients], axis=1), columns=PARAMETERS)
    frame["s"] = frame["c"] / (frame["a"] + frame["b"])
    low, high = expanded_interval(frame.to_numpy(), len(y) - len(PARAMETERS), options.confidence)
    ends = zip(frame.columns, low, high, strict=True)
    return frame, {name: (float(a), float(b)) for name, a, b in ends}


def _hold_out(runs: pd.DataFrame, config: ShapeLawConfig) -> tuple[dict[str, Any], Array]:
    """Refit without the largest value and predict it; figure 4, left, of the paper."""
    blank = np.full(len(runs), np.nan)
    if config.holdout == "none":
        return {"reason": "not asked for"}, blank
    outside = (runs["value"] == runs["value"].max()).to_numpy()
    rest = runs[~outside]
    if len(rest) < len(PARAMETERS) + 1 or rest["value"].nunique() < 3:
        return {"reason": "too few runs remain without the largest value"}, blank
    basis, solution, missing = _solve(rest, config.options)
    law = _law(basis, solution)
    x, t = runs["value"].to_numpy()[outside], runs["compute"].to_numpy()[outside]
    y, predicted = runs["metric"].to_numpy()[outside], law.metric(x, t)
    blank[outside] = predicted
    result: dict[str, Any] = {
        "value": float(x[0]),
        "runs": len(y),
        "rms": float(np.sqrt(((y - predicted) ** 2).mean())),
        "mean_relative_error": float(np.mean(np.abs(y - predicted) / y)),
        "s": law.s,
    }
    if missing:
        result["reason"] = "without the largest value the runs do not determine " + ", ".join(
            missing
        )
    return result, blank
