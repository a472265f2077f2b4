"""Figure 2 style: any metric of any analysis against cost.

Model size is grey, image scales (S2) are green, and input sizes (``:PIXELS``) purple.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_store import FeatureStore, InputError, Source
from workbench.figures import style
from workbench.models.names import ModelName
from workbench.results.messages import note

COST_LABELS = {"gmacs": "GMACs per image", "params": "parameters (millions)"}
ASIDE = "(equal costs side by side)"
APART = 0.025
"""Share of the axis; closer costs are drawn side by side, so that no interval hides another."""


@style.styled
def draw_curve(
    table: pd.DataFrame, *, metric: str = "test_accuracy", label: str = "test accuracy"
) -> Figure:
    """Metric against GMACs and against parameters, as in the paper's Figure 2.

    The table has columns ``source``, ``gmacs``, ``params`` (millions), the metric, and optionally
    ``low`` and ``high``. Single-scale sources make the grey curve of model size; each model with
    several scales makes a green curve, and each model at other input sizes (``:PIXELS``) a purple
    one, which start at its own single scale.
    """
    drawn, panels = style.figure(9.0, 3.8, columns=2)
    for axes, cost in zip(panels, COST_LABELS, strict=True):
        placed = table.assign(at=side_by_side(table.sort_values(["gmacs", cost])[cost]))
        for curve in curves(placed):
            _draw_one(axes, curve, metric)
        moved = (placed["at"] != table[cost]).any()
        axes.set_xscale("log")
        style.log_axis(axes.xaxis)
        aside = f"\n{ASIDE}" if moved else ""
        axes.set_xlabel(f"{COST_LABELS[cost]}, log scale{aside}")
    bars = "\n(bars: 95 % intervals)" if "low" in table else ""
    panels[0].set_ylabel(label + bars)
    handles = panels[0].get_legend_handles_labels()
    drawn.legend(*handles, loc="outside upper left", ncols=len(handles[0]), handlelength=3.5)
    return drawn


class Curve(NamedTuple):
    """One curve of a figure."""

    name: str
    """Name in the legend."""
    look: style.Look
    """Colour, marker and line."""
    rows: pd.DataFrame
    """Its sources."""
    own: pd.Series
    """Whether it draws a row's marker and interval; another curve does at its start."""


def _draw_one(axes: Axes, curve: Curve, metric: str) -> None:
    rows = curve.rows.sort_values("at")
    own = rows[curve.own[rows.index]]
    marked = rows.index.isin(own.index)
    style.curve(axes, rows["at"], rows[metric], curve.look, curve.name, markevery=list(marked))
    if "low" in rows:
        axes.vlines(own["at"], own["low"], own["high"], color=curve.look[0], lw=1.5)


def named_points(
    axes: Axes, cost: pd.Series, score: pd.Series, low: pd.Series, high: pd.Series,
    names: Iterable[str],
) -> None:  # fmt: skip
    """Draw scores with their intervals against cost, log axis; several scales are green.

    A name stands below its point where the next dearer point is higher: above, it would run into
    that one.
    """
    at = side_by_side(cost)[cost.index] if len(cost) else cost
    if (at != cost).any():
        axes.set_xlabel(ASIDE)
    axes.vlines(at, low, high, color=style.MODEL_SIZE[0], lw=1)
    rising = score[at.sort_values().index].diff().shift(-1) > 0
    for x, y, name, below in zip(at, score, names, rising[at.index], strict=True):
        look = style.S2_CURVES[0] if "+" in name or "S2" in name else style.MODEL_SIZE
        axes.plot(x, y, "o", color=look[0])
        offset = (5, -10 if below else 3)
        axes.annotate(name, (x, y), fontsize=8, xytext=offset, textcoords="offset points")
    axes.set_xscale("log")
    axes.margins(x=0.25)
    style.log_axis(axes.xaxis)


def floor(axes: Axes, score: float, name: str) -> None:
    """Draw a named line at the score of what sees nothing."""
    axes.axhline(score, ls="--", lw=1, color="grey")
    axes.annotate(
        name, (1, score), fontsize=8, xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )


def side_by_side(costs: pd.Series) -> pd.Series:
    """The costs, moved up on a log axis just far enough to keep them apart; equal ones in order.

    Examples
    --------
    >>> side_by_side(pd.Series([1.0, 1.0, 10.0])).round(3).tolist()
    [1.0, 1.059, 10.0]
    """
    ordered = costs.sort_values(kind="stable")
    step = max(ordered.iloc[-1] / ordered.iloc[0], 1.5) ** APART
    moved = itertools.accumulate(ordered, lambda before, cost: max(cost, before * step))
    return pd.Series(list(moved), index=ordered.index)


def curves(table: pd.DataFrame) -> list[Curve]:
    """The curve of model size, and those of each model's S2 and of its other input sizes.

    The latter start at the model's single-scale source if the table has it.
    """
    parsed = [Source.parse(name) for name in table["source"]]
    several = pd.Series([len(s.scales) > 1 for s in parsed], index=table.index)
    models = pd.Series([(s.model, s.tap) for s in parsed], index=table.index)
    start = pd.Series(_natives(parsed), index=table.index)  # of each source, the model's own size
    resized = ~several & (models != start)
    found = []
    if not several.all():
        sizes = table[~several & ~resized]
        found.append(Curve("model size", style.MODEL_SIZE, sizes, several.eq(False)))
    for kind, own, looks, of in (
        ("S2", several, style.S2_CURVES, models),
        ("input size", resized, style.INPUT_SIZES, start),
    ):
        for n, model in enumerate(of[own].unique()):
            rows = table[(own & (of == model)) | (~several & (models == model))]
            name = f"{kind} of {model[0].partition(':')[2]}"
            found.append(Curve(name, looks[n % len(looks)], rows, own))
    return found


def _natives(sources: list[Source]) -> list[tuple[str, str | None]]:
    """Model and tap of each source, at the input size with which its curve starts.

    Of the single-scale sources of one model: without ``:PIXELS``, or else at the smallest size.
    """
    sizes: dict[tuple[str, str | None], ModelName] = {}
    names = [_model_name(source.model) for source in sources]
    keys = [
        (str(replace(name, pixels=None)) if name else source.model, source.tap)
        for name, source in zip(names, sources, strict=True)
    ]
    for key, name, source in zip(keys, names, sources, strict=True):
        if name is not None and len(source.scales) == 1:
            sizes[key] = min(name, sizes.get(key, name), key=lambda size: size.pixels or 0)
    return [
        (str(sizes[key]), key[1]) if key in sizes and len(source.scales) == 1
        else (source.model, source.tap)
        for key, source in zip(keys, sources, strict=True)
    ]  # fmt: skip


def _model_name(text: str) -> ModelName | None:
    """The model's name; None for the features of another tool."""
    try:
        return ModelName.parse(text)
    except InputError:
        return None


def with_cost(table: pd.DataFrame, store: FeatureStore | None) -> pd.DataFrame:
    """The table with ``gmacs`` per image and ``params`` (millions) of each ``source``.

    Of a scale that was extracted to the store with ``--select``, the budget's share of the crops
    counts.

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
    """Count costs, as :func:`with_cost`, draw the curve and write PNG and SVG; their paths.

    If a source's model is unknown here, nothing is written but a line on standard error.
    """
    try:
        costs = with_cost(table, store)
    except InputError as error:
        note(f"no figure of {metric} against cost: {error}")
        return []
    return list(style.save(draw_curve(costs, metric=metric, label=label), stem))
