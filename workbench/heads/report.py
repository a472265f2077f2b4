"""Tables and figures of dense probes, for every kind of head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from feature_store import FeatureStore
from workbench.results.table_files import write_table

METRICS = {
    "segmentation": ("miou", "mean IoU on unseen images"),
    "depth": ("rmse", "depth error, RMSE in metres\n(lower is better)"),
}
"""Task to the metric to draw and its axis label."""


def class_table(parts: Sequence[pd.DataFrame], names: Sequence[str] | None) -> pd.DataFrame:
    """Intersection over union of each class that occurs in the test maps.

    `parts` are tables of :func:`analyses.dense_probe.compute`.

    Returns
    -------
    pandas.DataFrame
        ``class``, its number, ``name`` if known, and a column for each source.
    """
    columns = {
        source: pd.Series(found.class_iou())
        for part in parts
        for source, found in part.attrs["per_image"].items()
    }
    table = pd.DataFrame(columns).dropna(how="all")
    table = table.rename_axis("class").reset_index()
    if names:
        known = dict(enumerate(names))
        table.insert(1, "name", [known.get(k, "") for k in table["class"]])
    return table


def write_dense(
    table: pd.DataFrame,
    against: pd.DataFrame,
    classes: pd.DataFrame,
    task: str,
    store: FeatureStore | None,
    out: Path,
) -> None:
    """Write a table, its figures and, if there are any, its differences and classes.

    `against` and `classes` come from :func:`analyses.statistics.bootstrap.differences` and
    :func:`class_table`; `store` holds the sources, if they are stored.
    """
    # Deferred: matplotlib takes 1 s to import.
    from workbench.figures import style
    from workbench.figures.curve import write_curve
    from workbench.figures.probe import draw_sources

    metric, label = METRICS[task]
    write_table(table, out / task)
    if len(against):
        write_table(against, out / f"{task}_differences")
    if len(classes):
        write_table(classes, out / f"{task}_classes")
    style.save(draw_sources(table, metric=metric, label=label), out / task)
    write_curve(table, store, out / f"{task}_curve", metric=metric, label=label)
