"""Figure 2 style: any metric of any analysis against cost, model size in grey and S2 in green."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_store import FeatureStore, InputError, Source
from workbench.figures import style
from workbench.results.messages import note

COST_LABELS = {"gmacs": "GMACs per image", "params": "parameters (millions)"}
APART = 0.025
"""Share of the axis; closer costs are drawn side by side, so that no interval hides another."""


@style.styled
def draw_curve(
    table: pd.DataFrame,
    *,
    metric: str = "test_accuracy",
    label: str = "test accuracy",
    confidence: float = 0.95,
) -> Figure:
    """Metric against GMACs and against parameters, as in the paper's Figure 2.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source``, ``gmacs``, ``params`` (millions), the metric, and optionally ``low``
        and ``high``. Single-scale sources make the grey curve of model size; each model with
        several scales makes a green curve that starts at its own single scale.
    metric, label : str
        Column to draw, and its axis label.
    confidence : float
        Confidence of the intervals, named on the axis.
    """
    drawn, panels = style.figure(9.0, 3.8, columns=2)
    for axes, cost in zip(panels, COST_LABELS, strict=True):
        placed = table.assign(at=side_by_side(table.sort_values(["gmacs", cost])[cost]))
        for name, look, curve in curves(placed):
            _draw_one(axes, curve.sort_values("at"), metric, look, name)
        moved = (placed["at"] != table[cost]).any()
        axes.set_xscale("log")
        style.log_axis(axes.xaxis)
        aside = "\n(equal costs side by side)" if moved else ""
        axes.set_xlabel(f"{COST_LABELS[cost]}, log scale{aside}")
    bars = f"\n(bars: {100 * confidence:g} % intervals)" if "low" in table else ""
    panels[0].set_ylabel(label + bars)
    handles = panels[0].get_legend_handles_labels()
    drawn.legend(*handles, loc="outside upper left", ncols=len(handles[0]), handlelength=3.5)
    return drawn


def _draw_one(axes: Axes, curve: pd.DataFrame, metric: str, look: style.Look, name: str) -> None:
    """A curve; where an S2 curve starts, the model-size curve has drawn marker and interval."""
    own = curve if look == style.MODEL_SIZE else curve[_several(curve)]
    marked = curve.index.isin(own.index)
    style.curve(axes, curve["at"], curve[metric], look, name, markevery=list(marked))
    if "low" in curve:
        axes.vlines(own["at"], own["low"], own["high"], color=look[0], lw=1.5)


def side_by_side(costs: pd.Series) -> pd.Series:
    """The costs, moved up on a log axis just far enough to keep them apart.

    Parameters
    ----------
    costs : pandas.Series
        Costs, in the order in which equal ones are placed side by side.

    Examples
    --------
    >>> side_by_side(pd.Series([1.0, 1.0, 10.0])).round(3).tolist()
    [1.0, 1.059, 10.0]
    """
    ordered = costs.sort_values(kind="stable")
    step = max(ordered.iloc[-1] / ordered.iloc[0], 1.5) ** APART
    moved: list[float] = []
    for cost in ordered:
        moved.append(max(cost, moved[-1] * step) if moved else cost)
    return pd.Series(moved, index=ordered.index)


def curves(table: pd.DataFrame) -> list[tuple[str, style.Look, pd.DataFrame]]:
    """(name, look, rows) of the model-size curve and of each model's S2 curve.

    The S2 curve of a model starts at its single-scale source if the table has it.
    """
    parsed = [Source.parse(name) for name in table["source"]]
    several = _several(table)
    models = pd.Series([(s.model, s.tap) for s in parsed], index=table.index)
    found = []
    if not several.all():
        found.append(("model size", style.MODEL_SIZE, table[~several]))
    for n, model in enumerate(models[several].unique()):
        look = style.S2_CURVES[n % len(style.S2_CURVES)]
        found.append((f"S2 of {model[0].partition(':')[2]}", look, table[models == model]))
    return found


def _several(table: pd.DataFrame) -> pd.Series:
    return table["source"].map(lambda name: len(Source.parse(name).scales) > 1)


def with_cost(table: pd.DataFrame, store: FeatureStore | None) -> pd.DataFrame:
    """The table with ``gmacs`` per image and ``params`` (millions) of each source.

    Parameters
    ----------
    table : pandas.DataFrame
        Has a column ``source``.
    store : FeatureStore, optional
        Where the sources are: of a scale that was extracted with ``--select``, the budget's share
        of the crops counts.

    Raises
    ------
    InputError
        A source whose model is not known here.
    """
    from workbench.cost import cost

    counted = []
    for source in map(Source.parse, table["source"]):
        # A scale of which only some tokens are kept costs what the whole scale does.
        scales = [scale.partition(".t")[0] for scale in source.scales]
        found = cost(source.model, scales, tap=source.tap)
        shares = [_share_run(store, single) for single in source.singles()]
        both = zip(shares, found.per_scale, strict=True)
        counted.append(replace(found, gmacs=sum(share * row["gmacs"] for share, row in both)))
    return table.assign(gmacs=[c.gmacs for c in counted], params=[c.params / 1e6 for c in counted])


def _share_run(store: FeatureStore | None, single: Source) -> float:
    """Share of a scale's crops that were run: all of them without ``--select``."""
    if store is None:
        return 1.0
    return store.source(single).manifest.get("selection", {}).get("budget", 1.0)


def write_curve(
    table: pd.DataFrame, store: FeatureStore | None, stem: Path, *, metric: str, label: str
) -> list[Path]:
    """Count costs, draw the curve and write PNG and SVG; their paths.

    If a source's model is unknown here, nothing is written but a line on standard error.

    Parameters
    ----------
    table : pandas.DataFrame
        As :func:`draw_curve`, without costs.
    store : FeatureStore, optional
        Store that holds the sources.
    stem : Path
        File name without suffix.
    metric, label : str
        Column to draw, and its axis label.
    """
    try:
        costs = with_cost(table, store)
    except InputError as error:
        note(f"no figure of {metric} against cost: {error}")
        return []
    return [*style.save(draw_curve(costs, metric=metric, label=label), stem)]
