"""Experiments whose runs are committed with the project; they read no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses import experiments
from analyses.pretraining import experiment
from workbench.robot.config import PICKING
from workbench.tables.records.measurement import Context, Measured, Value

ROBOT = "table10_robotics"
"""Summary of the experiment with a simulated robot."""
MAIN = {"task": PICKING, "episodes": 120, "positions": 200, "camera_shift": 0, "light": 1}
"""Its part that stands for Table 10; others vary the task, the demonstrations or the view."""


def robot_runs() -> pd.DataFrame:
    """Rows of the part that stands for Table 10."""
    found = experiments.load(ROBOT)
    kept = pd.concat([found[name] == value for name, value in MAIN.items()], axis=1).all(axis=1)
    return found[kept]


def robot(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Per cent of the trials in simulation that lift the object, with Wilson's interval."""
    rows = {row["row"]: row for row in robot_runs().to_dict("records")}
    values: dict[str, dict[str, Value]] = {}
    notes: list[str] = []
    for name in sources:
        row = rows.get(name)
        if row is None:
            values[name] = {"grasped": (float("nan"), None, None)}
            notes.append(f"{name}: not yet run")
            continue
        low, high = (100 * row[f"grasp_{end}"] for end in ("low", "high"))
        values[name] = {"grasped": (100 * row["grasp"] / row["trials"], low, high)}
        notes.append(f"{name}: {row['grasp']} of {row['trials']} trials, {_seeds(row['seeds'])}")
    return Measured(values, notes=tuple(notes), config=dict(options))


def pretraining(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Top-1 accuracy in per cent of the rows of the pre-training experiment at equal images."""
    table = experiment.compute(experiment.load(), objective=options["objective"], budget="images")
    rows = {row["row"]: row for row in table.to_dict("records")}
    values: dict[str, dict[str, Value]] = {}
    resampled: dict[str, dict[str, list[float]]] = {}
    notes: list[str] = []
    for name in sources:
        row = rows.get(name)
        if row is None:
            notes.append(f"{options['objective']}, {name}: not yet run")
        elif not row["learned"]:
            notes.append(
                f"{options['objective']}, {name}: did not learn ({100 * row['accuracy']:.1f} %, "
                f"not above its floors: pixels {100 * row['pixels']:.1f} %, random start "
                f"{100 * row['random']:.1f} %)"
            )
        if row is None or not row["learned"]:
            values[name] = {"top1": (float("nan"), None, None)}
            continue
        values[name] = {"top1": (100 * row["accuracy"], 100 * row["low"], 100 * row["high"])}
        found = 100 * table.attrs["resampled"][name]
        resampled[name] = {"top1": np.round(found, 3).tolist()}
        notes.append(f"{options['objective']}, {name}: {_seeds(row['seeds'])}")
    return Measured(values, resampled, notes=tuple(notes), config=dict(options))


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
