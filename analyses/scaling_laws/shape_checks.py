"""Can a fitted shape law be trusted? Goodness of fit, lack of fit, edges and zeros."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from analyses.scaling_laws.fitting import FitOptions, run_weights
from analyses.scaling_laws.separable import Array
from analyses.scaling_laws.shape_basis import EXPONENT_BOUNDS
from analyses.scaling_laws.shape_law import PARAMETERS, ShapeLaw


def quality(y: Array, predicted: Array) -> dict[str, float]:
    """Runs, R², root mean square and largest error; R² is NaN for a constant metric."""
    error = y - predicted
    total = ((y - y.mean()) ** 2).sum()
    return {
        "runs": len(y),
        "r2": float(1 - (error**2).sum() / total) if total > 0 else float("nan"),
        "rms": float(np.sqrt((error**2).mean())),
        "max_error": float(np.abs(error).max()),
    }


def lack_of_fit(table: pd.DataFrame, parameters: int, options: FitOptions) -> dict[str, float]:
    """Errors of the law against the spread between repeats (seeds) of a run.

    F = ((S − S₀)/(n − p − n₀)) / (S₀/n₀), with S the squared error of the law, S₀ that of the
    means of repeats and n₀ its degrees of freedom; empty if there are too few repeats. A small
    p-value means that the law itself misses the runs, which no bootstrap interval covers.
    """
    weight = run_weights(table["metric"].to_numpy(), options)[0]
    error = (table["metric"] - table["predicted"]) * weight
    groups = error.groupby([table["value"], table["compute"]])
    within = error - groups.transform("mean")
    repeats = len(table) - groups.ngroups
    rest = len(table) - parameters - repeats
    pure = float((within**2).sum())
    if repeats < 3 or rest < 1 or pure <= 0:
        return {}
    f = ((error**2).sum() - pure) / rest / (pure / repeats)
    plain = table["metric"] - table.groupby(["value", "compute"])["metric"].transform("mean")
    return {
        "repeat_rms": float(np.sqrt((plain**2).sum() / repeats)),
        "lack_of_fit_p": float(fdtrc(rest, repeats, f)),
    }


def warnings(law: ShapeLaw, replicates: pd.DataFrame, checks: dict[str, float]) -> list[str]:
    """Caveats about the parameters, one sentence each."""
    coefficients = ("alpha", "beta", "xi", "epsilon")
    found = [
        f"{name} is 0: the fit drops its term, and its interval touches the bound"
        for name in coefficients
        if getattr(law, name) == 0
    ]
    freedom = int(checks["runs"]) - len(PARAMETERS)
    if freedom < 5:
        found.append(f"only {freedom} more runs than parameters: intervals are imprecise")
    if checks.get("lack_of_fit_p", 1.0) < 0.01:
        found.append(
            f"the law misses the runs by {checks['rms']:.3g} rms where repeats differ by "
            f"{checks['repeat_rms']:.3g}: lack of fit, which the intervals do not cover"
        )
    low, high = EXPONENT_BOUNDS
    for name in ("a", "b", "c") if len(replicates) else ():
        share = (~replicates[name].between(low * 1.001, high * 0.999)).mean()
        if share > 0.02:
            found.append(f"{name} is at the edge of its range in {share:.0%} of resamples")
    for name in coefficients if len(replicates) else ():
        share = (replicates[name] == 0).mean()
        if share > 0.02 and getattr(law, name) != 0:
            found.append(f"{name} is 0 in {share:.0%} of resamples")
    return found
