"""Differences between two rows, in the paper and here, with intervals and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analyses.statistics.bootstrap import interval
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.pipeline.plan import Measurement, MeasurementPlan
from workbench.tables.records.measurement import StoredMeasurement
from workbench.tables.specs.schema import Comparison, Label, Quantity, TableSpec


def compare(
    comparison: Comparison,
    spec: TableSpec,
    plan: MeasurementPlan,
    profile: str,
    measured: Mapping[Measurement, StoredMeasurement],
    rows: list[dict],
) -> dict | None:
    """A difference here beside the paper's; None where this profile measures neither row."""
    cells: dict[Label, dict] = {
        tuple(row["label"]): row["cells"][comparison.metric] for row in rows
    }
    a, b = cells[comparison.a], cells[comparison.b]
    if a.get("value") is None or b.get("value") is None:
        return None
    better = next(m.better for m in spec.metrics if m.column == comparison.metric)
    quantities = spec.setups[profile].quantities[comparison.metric]
    paper = _combine(a["published"], b["published"], comparison.kind)
    here = _combine(a["value"], b["value"], comparison.kind)
    resampled = _resampled_differences(comparison, quantities, plan, measured)
    low, high, how = difference_interval(a, b, comparison, resampled)
    neutral = 1.0 if comparison.kind == "ratio" else 0.0
    return {
        "question": comparison.question,
        "metric": comparison.metric,
        "kind": comparison.kind,
        "better": better,
        "paper": paper,
        "here": here,
        "low": low,
        "high": high,
        "interval": how,
        "one_law": ANALYSES[quantities[comparison.a].analysis].one_law,
        "verdict": verdict(paper, here, (low, high), neutral),
    }


def _combine(a: Any, b: Any, kind: str) -> float | None:
    if not isinstance(a, float | int) or not isinstance(b, float | int):
        return None
    return a / b if kind == "ratio" else a - b


def _resampled_differences(
    comparison: Comparison,
    quantities: Mapping[Label, Quantity],
    plan: MeasurementPlan,
    measured: Mapping[Measurement, StoredMeasurement],
) -> np.ndarray | None:
    """The difference on every resample if both rows share their resamples; else None."""
    pair = [(k, plan.of[k]) for k in (quantities[comparison.a], quantities[comparison.b])]
    (_, a), (_, b) = pair
    # One call; or two of an analysis that resamples a test store the same way in every call.
    together = (a.analysis, a.data) == (b.analysis, b.data) and not ANALYSES[a.analysis].joint
    if a != b and not together:
        return None
    try:
        x, y = (np.array(measured[m].measured.resampled[k.source][k.field], float) for k, m in pair)
    except KeyError:
        return None
    return x / y if comparison.kind == "ratio" else x - y


def difference_interval(
    a: dict, b: dict, comparison: Comparison, resampled: np.ndarray | None
) -> tuple[float | None, float | None, str]:
    """Ends of the difference's interval, and how they were made.

    Without common resamples the two intervals are combined as if the rows were independent (MOVER,
    Zou and Donner 2008): the rows share their test images, so that is too wide, never too narrow
    where they move together.
    """
    if resampled is not None:
        return *interval(resampled), "paired"
    a_low, a_high, b_low, b_high = ends = [a["low"], a["high"], b["low"], b["high"]]
    if None in ends:
        return None, None, "none"
    if comparison.kind == "ratio":
        return a_low / b_high, a_high / b_low, "extremes"
    middle = a["value"] - b["value"]
    down = np.hypot(a["value"] - a_low, b_high - b["value"])
    up = np.hypot(a_high - a["value"], b["value"] - b_low)
    return middle - down, middle + up, "unpaired"


def verdict(
    paper: float | None,
    here: float | None,
    ends: tuple[float | None, float | None],
    neutral: float = 0.0,
) -> str:
    """Whether the run points in the paper's direction.

    ``same direction`` or ``opposite direction`` if the interval leaves no doubt about the sign,
    ``undecided`` if it contains the neutral value, and the sign alone without an interval.

    Examples
    --------
    >>> verdict(1.2, 3.0, (1.0, 5.0)), verdict(1.2, 3.0, (-1.0, 7.0))
    ('same direction', 'undecided')
    """
    if here is None:
        return ""
    low, high = ends
    if low is not None and high is not None and low <= neutral <= high:
        return "undecided"
    if paper is None or paper == neutral:
        words = "higher here" if here > neutral else "lower here"
        return f"{words}; the paper prints {'none' if paper is None else 'no difference'}"
    same = (here > neutral) == (paper > neutral)
    words = "same direction" if same else "opposite direction"
    return words if low is not None else f"{words} (no interval)"
