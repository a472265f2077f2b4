"""The scaling laws behind tables, fitted to published or bundled runs; they read no store."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from analyses.scaling_laws import encoder, shape
from analyses.scaling_laws.digits import load_digits_sweep
from analyses.scaling_laws.encoder import GroupFit
from analyses.scaling_laws.fitting import FitOptions, expanded_interval
from workbench.tables.records.measurement import Context, Measured

ENCODER_FIT = FitOptions(loss="linear")


def shape_law(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Scaling exponent s of each dimension, fitted to the bundled sweep of tiny transformers."""
    fit_options = FitOptions(residuals="relative", allow_unidentified=True)
    config = shape.ShapeLawConfig(options=fit_options)
    fits = shape.compute(load_digits_sweep(), config)
    rows = {fit.dimension: fit.row() for fit in fits}
    values, notes = {}, []
    for name in sources:
        row = rows[name]
        value = float("nan") if row["unidentified"] else row["s"]
        values[name] = {"s": (value, row.get("s_low"), row.get("s_high"))}
        notes += [f"{name}: {which}: {why}" for which, why in row["unidentified"].items()]
    return Measured(values, notes=tuple(notes), config=asdict(config))


def encoder_law(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Loss under the law of least BIC at every (encoder parameters, pairs), with its interval."""
    group = encoder_group(options["llm"], options["dataset"])
    law = group.fits[group.best]
    size, pairs = np.array([name.split("/") for name in sources], float).T
    fitted, drawn = law.predict(size, pairs), law.predict_replicates(size, pairs)
    freedom = len(group.runs) - len(law.parameters)
    ends = [expanded_interval(column, freedom, 0.95) for column in drawn.T]
    return Measured(
        {
            name: {"fitted": (float(value), float(low), float(high))}
            for name, value, (low, high) in zip(sources, fitted, ends, strict=True)
        },
        notes=(f"the law of least BIC is {group.best!r}",),
        config=asdict(ENCODER_FIT),
    )


@functools.lru_cache(maxsize=8)
def encoder_group(llm: str, dataset: str) -> GroupFit:
    """All laws fitted to the published losses of one language model on one dataset."""
    runs = encoder.published_runs()
    part = runs[(runs["llm"] == llm) & (runs["dataset"] == dataset)]
    (group,) = encoder.compute(part, ENCODER_FIT)
    return group
