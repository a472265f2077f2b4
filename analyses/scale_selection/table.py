"""The table of a study of scale selection, and the budgets that keep most of the gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.scale_selection.config import SelectionConfig
from analyses.statistics.bootstrap import interval

KEPT = 0.95
"""Share of the gain of all crops whose budget is reported."""


@dataclass(frozen=True, eq=False)
class Point:
    """One policy at one budget, on test images."""

    metric: float
    draws: np.ndarray
    """float64, dims (resample,): the metric of resampled images, the same for all points."""
    crops: float
    """Mean number of crops of the larger scales run per test image."""
    penalty: float
    """Penalty of the predictor."""
    images: tuple[int, int]
    """(train, test)."""


def table_of(
    points: Mapping[tuple[str, float], Point], metric_name: str, config: SelectionConfig
) -> pd.DataFrame:
    """One row for each policy and budget asked for; see :func:`~.selection.compute`.

    Parameters
    ----------
    points : mapping of (policy, budget) to Point
        Includes the budgets 0 and 1 of every policy.
    """
    records = []
    for policy in config.policies:
        none, full = _ends(points, policy, metric_name, config)
        for budget in config.budgets:
            point = points[policy, budget]
            low, high = interval(point.draws, config.confidence)
            random = points.get(("random", budget))
            over = _over(point, random, config.confidence)
            records.append(
                {
                    "policy": policy,
                    "budget": budget,
                    "crops_per_image": point.crops,
                    "metric": point.metric,
                    "metric_name": metric_name,
                    "low": float(low),
                    "high": float(high),
                    "share_of_full_gain": share_of_gain(point.metric, none, full),
                    **over,
                    "penalty": point.penalty,
                    "train_images": point.images[0],
                    "test_images": point.images[1],
                }
            )
    table = pd.DataFrame.from_records(records)
    table.attrs["resampled"] = {key: point.draws.tolist() for key, point in points.items()}
    table.attrs["kept"] = kept(points, metric_name, config)
    return table


def share_of_gain(metric: float, none: float, full: float) -> float:
    """Share of the gain of all crops; NaN if they gain nothing.

    >>> share_of_gain(0.6, none=0.5, full=0.7)
    0.5
    """
    return round((metric - none) / (full - none), 12) if full != none else float("nan")


def _ends(
    points: Mapping[tuple[str, float], Point], policy: str, name: str, config: SelectionConfig
) -> tuple[float, float]:
    """The metric without crops and with all; NaN if the interval of their gain includes zero."""
    none, full = points[policy, 0.0], points[policy, 1.0]
    gain = (full.draws - none.draws) * (-1 if name == "rmse" else 1)
    low, _ = interval(gain, config.confidence)
    return (none.metric, full.metric) if low > 0 else (float("nan"), float("nan"))


def kept(
    points: Mapping[tuple[str, float], Point], metric_name: str, config: SelectionConfig
) -> dict[str, float]:
    """Policy to the smallest budget that keeps :data:`KEPT` of the gain, interpolated linearly."""
    found = {}
    for policy in config.policies:
        budgets = sorted(budget for name, budget in points if name == policy)
        none, full = _ends(points, policy, metric_name, config)
        shares = [share_of_gain(points[policy, b].metric, none, full) for b in budgets]
        found[policy] = reached(budgets, shares, KEPT)
    return found


def reached(budgets: list[float], shares: list[float], wanted: float) -> float:
    """The smallest budget at which interpolated shares reach `wanted`; NaN if they never do.

    >>> reached([0.0, 0.5, 1.0], [0.0, 0.9, 1.0], 0.95)
    0.75
    """
    for k in range(1, len(budgets)):
        if shares[k] >= wanted:
            part = (wanted - shares[k - 1]) / (shares[k] - shares[k - 1])
            return round(budgets[k - 1] + part * (budgets[k] - budgets[k - 1]), 12)
    return float("nan")


def _over(point: Point, random: Point | None, confidence: float) -> dict[str, float]:
    """The paired difference from the random policy at the same budget."""
    if random is None:
        return dict.fromkeys(_OVER, float("nan"))
    low, high = interval(point.draws - random.draws, confidence)
    values = (point.metric - random.metric, float(low), float(high))
    return dict(zip(_OVER, values, strict=True))


_OVER = ("over_random", "over_random_low", "over_random_high")
