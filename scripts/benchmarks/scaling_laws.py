"""One shape-law fit with 200 resamples: time, against scipy one fit at a time, and coverage.

    python scripts/benchmarks/scaling_laws.py

Expected: 3 to 6 minutes on 2 cores, 300 MB of memory. Writes results/scaling_laws.json beside this
file. Times on a shared machine vary; the ratio's two sides ran in turn within one run. The scipy
side is a seven-parameter trust-region fit in logarithms from four starts, with numerical
derivatives, which is what one would write first; `cost_ratio_max` says by how much the batched fit
ever ends above it.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from analyses.scaling_laws import encoder, shape
from analyses.scaling_laws.digits import load_digits_sweep
from analyses.scaling_laws.fitting import FitOptions
from analyses.scaling_laws.shape_law import PARAMETERS, ShapeLaw
from workbench import processors

RESULTS = Path(__file__).parent / "results" / "scaling_laws.json"
LAW = ShapeLaw(a=1.2, b=1.75, c=0.65, alpha=300.0, beta=8.4e-6, xi=1.0, epsilon=0.1)
SWEEPS, REPEATS, SCIPY_FITS = 200, 5, 20


def sweep(noise: float, seed: int) -> pd.DataFrame:
    """A star leg shaped as in the paper: 7 widths × 3 budgets."""
    value = np.repeat([608.0, 768, 928, 1088, 1328, 1648, 1968], 3)
    compute = np.tile([0.5, 1.0, 2.0], 7) * 40 * (value / 1000) ** 2
    metric = LAW.metric(value, compute) + noise * np.random.default_rng(seed).normal(size=21)
    return pd.DataFrame({"value": value, "compute": compute, "metric": metric})


def options(resamples: int, loss: str = "huber", seed: int = 0) -> FitOptions:
    """Options that accept every fit, so that noisy replicates count."""
    return FitOptions(resamples=resamples, loss=loss, seed=seed, allow_unidentified=True)


def seconds(action) -> float:
    """Median wall time of REPEATS calls."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def scipy_fit(table: pd.DataFrame) -> float:
    """Least cost of four seven-parameter fits in logarithms."""
    x, t, y = (table[c].to_numpy() for c in ("value", "compute", "metric"))
    x, t = x / np.exp(np.log(x).mean()), t / np.exp(np.log(t).mean())

    def residual(p):
        a, b, c, alpha, beta, xi, epsilon = np.exp(p)
        return alpha * x**-a + (beta * x**b + xi) * t**-c + epsilon - y

    rng = np.random.default_rng(0)
    starts = np.log([1, 1, 0.5, 0.1, 0.1, 0.1, 0.1]) + rng.normal(size=(4, 7)) * 0.5
    return min(
        least_squares(residual, s, bounds=(-25, np.log(10)), max_nfev=2000).cost for s in starts
    )


def fit_times() -> dict[str, float]:
    """Time of one fit with 200 resamples, and of as many scipy fits extrapolated from a few."""
    table = sweep(0.002, 0)
    config = shape.ShapeLawConfig(holdout="none", options=options(200, "linear"))
    batched = seconds(lambda: shape.compute(table, config))
    start = time.perf_counter()
    costs = [scipy_fit(sweep(0.002, seed)) for seed in range(SCIPY_FITS)]
    each = (time.perf_counter() - start) / SCIPY_FITS
    plain = shape.ShapeLawConfig(holdout="none", options=options(0, "linear"))
    ours = []
    for seed in range(SCIPY_FITS):
        runs = shape.compute(sweep(0.002, seed), plain)[0].runs
        ours.append(0.5 * ((runs["metric"] - runs["predicted"]) ** 2).sum())
    digits = shape.ShapeLawConfig(options=options(200))
    robust = shape.ShapeLawConfig(options=options(200))
    return {
        "fit_with_200_bootstraps_s": batched,
        "robust_fit_with_holdout_and_200_bootstraps_s": seconds(
            lambda: shape.compute(table, robust)
        ),
        "digits_three_legs_200_bootstraps_s": seconds(
            lambda: shape.compute(load_digits_sweep(), digits)
        ),
        "published_encoder_laws_200_bootstraps_s": seconds(
            lambda: encoder.compute(encoder.published_runs(), options(200, "linear"))
        ),
        "scipy_one_fit_s": each,
        "speed_ratio_201_scipy_fits_to_batched": 201 * each / batched,
        "cost_ratio_max": float(np.max(np.array(ours) / np.array(costs))),
    }


def coverage() -> dict[str, dict[str, float]]:
    """Share of sweeps whose 95 % interval contains the true parameter, by noise and loss."""
    found = {}
    for noise in (0.001, 0.002, 0.004):
        for loss in ("huber", "linear"):
            hits = pd.Series(0.0, index=[*PARAMETERS, "s"])
            for seed in range(SWEEPS):
                config = shape.ShapeLawConfig(holdout="none", options=options(200, loss, seed))
                fit = shape.compute(sweep(noise, seed), config)[0]
                for name, (low, high) in fit.intervals.items():
                    hits[name] += low <= getattr(LAW, name) <= high
            found[f"noise {noise}, {loss}"] = (hits / SWEEPS).round(4).to_dict()
    return found


def main() -> None:
    """Measure and write."""
    result = {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "versions": {n: importlib.metadata.version(n) for n in ("numpy", "scipy", "pandas")}
        | {"python": platform.python_version()},
        "times": fit_times(),
        "coverage_of_95_percent_intervals": coverage(),
        "sweeps": SWEEPS,
        "load_average_at_end": os.getloadavg()[0],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["times"], indent=1))


if __name__ == "__main__":
    main()
