"""Experiments whose runs are committed with the project; they read no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analyses.pretraining import experiment
from workbench.tables.records.measurement import Context, Measured, Value


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
        notes.append(f"{options['objective']}, {name}: {row['seeds']} seed(s)")
    return Measured(values, resampled, notes=tuple(notes), config=dict(options))
