"""Cost of selected crops, and cost and accuracy of other sources for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analyses import dense_probe, probe, reconstruction
from analyses.configs import ProbeConfig
from analyses.scale_selection.config import SelectionConfig
from analyses.scale_selection.dense import DenseTask
from analyses.scale_selection.layout import Layout
from analyses.scale_selection.reconstruct import ReconstructTask
from analyses.scale_selection.task import Task
from feature_store import FeatureStore, InputError, Source
from workbench.cost.counting import cost, macs
from workbench.datasets.target_maps import DepthUnit, targets_for
from workbench.results.messages import note


def with_gmacs(table: pd.DataFrame, layout: Layout, store: FeatureStore) -> pd.DataFrame:
    """The table with ``gmacs`` per image after ``crops_per_image``: base scale and crops together.

    NaN, and a line on standard error, if the model is not known here.
    """
    base = Source.parse(layout.base)
    facts = store.source(layout.base).manifest["scale"]
    try:
        crop = macs(base.model, base.tap or "", *facts["crop"]).total / 1e9
    except InputError as error:
        note(f"no cost in GMACs: {error}")
        crop = float("nan")
    rows, cols = facts["crops"]
    found = table.copy()
    place = found.columns.get_loc("crops_per_image")
    found.insert(place + 1, "gmacs", crop * (rows * cols + found["crops_per_image"]))
    found.attrs = table.attrs
    return found


def others(
    stores: tuple[FeatureStore, FeatureStore],
    sources: Sequence[str],
    task: Task,
    config: SelectionConfig,
    depth_unit: DepthUnit = "m",
) -> pd.DataFrame:
    """Columns ``source``, ``gmacs``, ``metric``, ``low``, ``high`` of other sources on one task.

    Each source is measured by the analysis of the selection's task. `stores` are train and test;
    `depth_unit` is the unit of the dataset's depth maps.
    """
    common: dict[str, Any] = {
        "seed": config.seed,
        "resamples": config.resamples,
        "keep_shared": config.keep_shared,
    }
    names = (task.metric_name, "low", "high")
    if isinstance(task, ReconstructTask):
        ridge = "auto" if config.ridge is None else config.ridge
        found = reconstruction.compute(
            *stores, target=task.target, sources=sources,
            config=reconstruction.ReconstructionConfig(ridge=ridge, **common),
        )  # fmt: skip
        table = reconstruction.rows(found)
        names = ("test_info_bits", "test_info_low", "test_info_high")
    elif isinstance(task, DenseTask):
        parts = []
        for source in sources:  # models may crop differently: each has its own targets
            train, test = (targets_for(store, source, task.name, depth_unit) for store in stores)
            parts.append(
                dense_probe.compute(
                    *stores, sources=[source], targets=(train, test), config=task.options
                )
            )
        table = pd.concat(parts, ignore_index=True)
    else:
        table = probe.compute(*stores, sources=sources, config=ProbeConfig(l2=config.l2, **common))
        names = ("test_accuracy", "low", "high")
    parsed = map(Source.parse, table["source"])
    counted = [cost(s.model, s.scales, tap=s.tap).gmacs for s in parsed]
    columns = {new: table[old] for new, old in zip(("metric", "low", "high"), names, strict=True)}
    return pd.DataFrame({"source": table["source"], "gmacs": counted, **columns})
