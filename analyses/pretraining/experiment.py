"""The committed runs of the pre-training experiment, and what they show.

``scripts/experiments/pretraining.py`` trained them, one JSON file for each run (row, images seen,
seed) in ``data/``; the top-1 accuracy of a linear probe is on unseen images, all rows on the same.

An interval covers both which images were tested and which seed was trained: each resample draws
images, equal for all rows, and seeds of the row, with replacement.

Source: Table 4 of "When Do We Not Need Larger Vision Models?".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from analyses.statistics.bootstrap import interval
from feature_store.errors import InputError

Records = Sequence[dict[str, Any]]
ROWS = {
    "Base": ("small", "1x"),
    "Large": ("large", "1x"),
    "Base-S2 after training": ("small", "1x+2x"),
    "Base-S2 in training": ("small-S2", "1x+2x"),
}
"""Row of the table to the model that was trained, and the scales that the probe sees."""
FLOORS = {"Base": "random-small", "Large": "random-large"}
"""Row to the same backbone at its random start; that of the small one is also S2's floor."""
BUDGETS = ("images", "compute")
"""Equal images seen, or equal multiply-accumulates of the forward pass."""
PIXELS = "pixels"
"""Row of a linear head on the pixels of the image."""


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy of a row, its resamples, and how many seeds were trained."""

    mean: float
    """Mean accuracy over seeds, as a share."""
    resampled: np.ndarray
    """float, dims (resample,): resamples of the mean; those of two rows are paired."""
    seeds: int
    compute: float
    """Multiply-accumulates of all forward passes of a training, in units of 1e9."""
    images: int
    """Images seen in training."""


def load() -> list[dict[str, Any]]:
    """The committed records; none before the first run."""
    folder = files(__package__).joinpath("data")
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.endswith(".json")]
    return [json.loads(path.read_text("utf-8")) for path in sorted(found, key=lambda p: p.name)]


def accuracy(
    records: Records, row: str, scales: str, *, objective: str, budget: str
) -> Accuracy | None:
    """Summarise the runs of a row; None if none is committed.

    Parameters
    ----------
    records : sequence of dict
        Records as returned by :func:`load`.
    row, scales : str
        Model that was trained, and the scales that the probe sees.
    budget : str
        ``images``, ``compute``, or ``none`` for floors.
    """
    found = [
        record
        for record in records
        if (record["row"], record["objective"]) == (row, objective)
        and budget in record["budgets"]
        and scales in record["probes"]
    ]
    if not found:
        return None
    probes = [record["probes"][scales] for record in found]
    resampled = np.array([probe["resampled"] for probe in probes])
    rng = np.random.default_rng([len(found), 4])
    drawn = rng.integers(len(found), size=(len(found), resampled.shape[1]))
    return Accuracy(
        float(np.mean([probe["accuracy"] for probe in probes])),
        np.take_along_axis(resampled, drawn, 0).mean(0),
        len(found),
        float(np.mean([record["gmacs_per_image"] * record["images"] for record in found])),
        int(np.mean([record["images"] for record in found])),
    )


def floors(records: Records, label: str) -> dict[str, float]:
    """Accuracy of what needs no training: ``pixels``, and ``random``, the row's backbone at its
    random start."""
    row = FLOORS.get(label, FLOORS["Base"])
    asked = {"pixels": (PIXELS, "1x"), "random": (row, ROWS[label][1])}
    found = {
        name: accuracy(records, *one, objective="none", budget="none")
        for name, one in asked.items()
    }
    if missing := [name for name, one in found.items() if one is None]:
        raise InputError(
            f"the floor {missing[0]} was not measured; run scripts/experiments/pretraining.py"
        )
    return {name: one.mean for name, one in found.items() if one is not None}


def compute(records: Records, *, objective: str, budget: str) -> pd.DataFrame:
    """One line for each row of the table that was run.

    Parameters
    ----------
    records : sequence of dict
        Records as returned by :func:`load`.
    objective : {"supervised", "dinov2"}
    budget : {"images", "compute"}

    Returns
    -------
    pandas.DataFrame
        ``row``, ``images`` (seen in training), ``compute`` (GMACs of its forward passes),
        ``accuracy``, ``low``, ``high`` (95 %), ``pixels``, ``random`` (its floors), ``learned``
        (whether the interval lies above both), ``seeds``. Attribute ``resampled``: row to paired
        resamples.
    """
    rows, resampled = [], {}
    for label, (row, scales) in ROWS.items():
        found = accuracy(records, row, scales, objective=objective, budget=budget)
        if found is None:
            continue
        low, high = interval(found.resampled)
        least = floors(records, label)
        resampled[label] = found.resampled
        rows.append(
            {
                "row": label, "images": found.images, "compute": found.compute,
                "accuracy": found.mean, "low": float(low), "high": float(high), **least,
                "learned": bool(low > max(least.values())), "seeds": found.seeds,
            }
        )  # fmt: skip
    table = pd.DataFrame.from_records(rows)
    table.attrs = {"resampled": resampled}
    return table


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """S2 in training minus each other row, paired by image: ``against``, ``difference``, ``low``,
    ``high``."""
    name, columns = "Base-S2 in training", ["against", "difference", "low", "high"]
    resampled = table.attrs["resampled"]
    if name not in resampled:
        return pd.DataFrame(columns=columns)
    means = table.set_index("row")["accuracy"]
    rows = []
    for other in (label for label in resampled if label != name):
        low, high = interval(resampled[name] - resampled[other])
        rows.append(
            {
                "against": other, "difference": float(means[name] - means[other]),
                "low": float(low), "high": float(high),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
