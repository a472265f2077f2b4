"""Figure 2 style: a metric against cost, model size in grey and S2 in green."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from feature_store import Source
from workbench.figures import style

COST_LABELS = {"gmacs": "GMACs per image", "params": "parameters (millions)"}


@style.styled
def draw_sources(
    table: pd.DataFrame, stem: Path, *, metric: str = "test_accuracy", label: str = "test accuracy"
) -> tuple[Path, Path]:
    """One point and interval per source, in the table's order; written as PNG and SVG.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source``, ``low``, ``high`` and the metric.
    stem : Path
        File name without suffix.
    metric, label : str
        Column that is drawn, and what the axis calls it.
    """
    drawn, (axes,) = style.figure(7.0, 0.9 + 0.45 * len(table))
    for height, row in enumerate(table.to_dict("records")):
        several = len(Source.parse(row["source"]).scales) > 1
        colour, marker, _ = style.S2_CURVES[0] if several else style.MODEL_SIZE
        axes.hlines(height, row["low"], row["high"], color=colour, lw=1.5)
        axes.plot([row[metric]], [height], marker=marker, color=colour, ls="", ms=7, zorder=3)
        axes.annotate(
            f"{row[metric]:.3f}", (row["high"], height), (5, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(table)), [short(name) for name in table["source"]])
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.2)
    axes.set_xlabel(label)
    return style.save(drawn, stem)


@style.styled
def draw_curve(
    table: pd.DataFrame, stem: Path, *, metric: str = "test_accuracy", label: str = "test accuracy"
) -> tuple[Path, Path]:
    """Metric against GMACs and against parameters, as in the paper's Figure 2.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source``, ``gmacs``, ``params`` (millions), the metric, and optionally ``low``
        and ``high``. Single-scale sources make the grey curve of model size; each model with
        several scales makes a green curve that starts at its own single scale.
    stem : Path
        File name without suffix.
    metric, label : str
        Column that is drawn, and what the axis calls it.
    """
    drawn, panels = style.figure(9.0, 3.8, columns=2)
    for axes, cost in zip(panels, COST_LABELS, strict=True):
        for name, look, curve in curves(table):
            curve = curve.sort_values(["gmacs", cost])
            style.curve(axes, curve[cost], curve[metric], look, name)
            if "low" in curve:
                axes.vlines(curve[cost], curve["low"], curve["high"], color=look[0], lw=1.5)
        axes.set_xlabel(COST_LABELS[cost])
        axes.set_xscale("log")
        _ticks_at(axes, table[cost])
    panels[0].set_ylabel(label)
    handles = panels[0].get_legend_handles_labels()
    drawn.legend(*handles, loc="outside upper left", ncols=len(handles[0]), handlelength=3.5)
    return style.save(drawn, stem)


def _ticks_at(axes: Axes, values: pd.Series) -> None:
    """Ticks at the sources' own costs, leaving out those too close on a log axis to be read."""
    gap = (values.max() / values.min()) ** 0.13  # a label's width as a part of the axis
    kept: list[float] = []
    for value in sorted(set(values)):
        if not kept or value > kept[-1] * gap:
            kept.append(value)
    axes.set_xticks(kept, [f"{value:.2g}" for value in kept])
    axes.set_xticks([], minor=True)


def curves(table: pd.DataFrame) -> list[tuple[str, tuple[str, str, str], pd.DataFrame]]:
    """(name, look, rows) of the model-size curve and of each model's S2 curve.

    The model-size curve takes the smallest scale of each model; the S2 curve of a model starts
    at its single-scale source where the table has it.
    """
    parsed = [Source.parse(name) for name in table["source"]]
    single = pd.Series([len(s.scales) == 1 for s in parsed], index=table.index)
    models = pd.Series([(s.model, s.tap) for s in parsed], index=table.index)
    found = []
    if single.any():
        found.append(("model size", style.MODEL_SIZE, table[single]))
    for n, model in enumerate(models[~single].unique()):
        look = style.S2_CURVES[n % len(style.S2_CURVES)]
        found.append((f"S2 of {short(model[0])}", look, table[models == model]))
    return found


def short(source: str) -> str:
    """A source's name without the loader in front: ``efficientnet_lite0@224+448``."""
    return source.partition(":")[2] or source
