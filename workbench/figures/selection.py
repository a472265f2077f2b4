"""Scale selection: the metric against cost by policy, and photographs with their chosen crops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analyses.scale_selection.layout import Layout, ScaleLayout
from analyses.scale_selection.policies import choose
from feature_store import FeatureStore, Source
from workbench.datasets.pictures import as_seen
from workbench.figures import style
from workbench.figures.panels import set_title

LABELS = {
    "info_bits": "information on unseen images, bits",
    "accuracy": "test accuracy",
    "miou": "mean IoU on unseen images",
    "rmse": "depth error, RMSE in metres (lower is better)",
}
LOOKS = {
    "oracle": ("#b87a00", "P", ":"),
    "random": ("#9970ab", "v", "--"),
    "centre": ("#2166ac", "X", "-."),
    "bottom-up": (style.GREEN, "o", "-"),
    "norm": ("#35978f", "^", "-"),
    "variance": ("#2c9c54", "D", "-."),
    "top-down": ("#c0392b", "P", "-"),
}
"""Colour, marker and line of each policy."""
COLOURS = ("#ff7f0e", "#2166ac", "#9970ab", "#1b7837")
"""Outlines of the crops of each larger scale."""
DRAWN = 0.25
"""Budget whose crops are drawn, or else the nearest that was measured."""


@style.styled
def draw_curve(table: pd.DataFrame, others: pd.DataFrame | None = None) -> Figure:
    """Metric against GMACs per image: a curve for each policy, and one over model sizes.

    The table is of :func:`analyses.scale_selection.compute`, with ``gmacs``; `others` are further
    models, with columns ``source``, ``gmacs``, ``metric``, ``low``, ``high``.
    """
    drawn, (axes,) = style.figure(7.4, 4.4)
    for policy, rows in table.groupby("policy", sort=False):
        at = rows.sort_values("gmacs")
        colour = LOOKS[str(policy)][0]
        axes.vlines(at["gmacs"], at["low"], at["high"], color=colour, lw=1, alpha=0.5)
        style.curve(axes, at["gmacs"], at["metric"], LOOKS[str(policy)], str(policy))
    if others is not None and len(others):
        base = table[table["budget"] == 0][["gmacs", "metric", "low", "high"]].head(1)
        sizes = pd.concat([base, others], ignore_index=True).sort_values("gmacs")
        axes.vlines(sizes["gmacs"], sizes["low"], sizes["high"], color=style.GREY, lw=1)
        style.curve(axes, sizes["gmacs"], sizes["metric"], style.MODEL_SIZE, "model size")
    axes.set_xscale("log")
    style.log_axis(axes.xaxis)
    axes.set_xlabel("GMACs per image, log scale")
    axes.set_ylabel(f"{LABELS[table['metric_name'].iloc[0]]}\n(bars: 95 % intervals)")
    drawn.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return drawn


@style.styled
def draw_chosen(
    store: FeatureStore, layout: Layout, table: pd.DataFrame, *, count: int = 4
) -> Figure:
    """Photographs with outlines of the crops that a policy runs, beside the gain of every crop.

    The policy is bottom-up if the table has it, else the last; the images are the ones whose
    largest gains differ most. The store is that of the test images, the table of
    :func:`analyses.scale_selection.compute`.
    """
    policies = list(table["policy"].unique())
    policy = "bottom-up" if "bottom-up" in policies else policies[-1]
    budgets = [budget for budget in table["budget"].unique() if 0 < budget < 1] or [1.0]
    budget = min(budgets, key=lambda found: abs(found - DRAWN))
    chosen, gains = choose(table.attrs["keys"][policy], budget), table.attrs["gains"]
    spread = chosen.sum(1) if gains is None else np.ptp(gains, axis=1)
    shown = np.argsort(-spread, kind="stable")[:count]
    maps = 0 if gains is None else len(layout.scales)
    drawn, axes = style.figure(
        2.3 * (1 + maps), 2.5 * len(shown), rows=len(shown), columns=1 + maps
    )
    read = as_seen(store, layout.base)
    limit = 1.0 if gains is None else float(np.abs(gains[shown]).max())
    for line, image in enumerate(shown):
        first, *beside = axes[line * (1 + maps) : (line + 1) * (1 + maps)]
        row = int(table.attrs["rows"][image])
        _photograph(first, read(row), layout, chosen[image])
        set_title(first, f"{str(store.image_ids[row])[-28:]}\n{policy}, {budget:.0%} of the crops")
        for ax, scale, own in zip(
            beside, layout.scales, [] if gains is None else layout.parts(gains[image]), strict=False
        ):
            _gains(ax, scale, own, limit)
    return drawn


def _photograph(ax: Axes, picture: np.ndarray | None, layout: Layout, chosen: np.ndarray) -> None:
    """The photograph, in units of its sides, and an outline for each chosen crop."""
    ax.set_axis_off()
    shown = np.full((2, 2, 3), 235, np.uint8) if picture is None else picture
    ax.imshow(shown, extent=(0, 1, 1, 0))
    for n, (scale, run) in enumerate(zip(layout.scales, layout.parts(chosen), strict=True)):
        rows, cols = scale.crops
        inset = 0.008 * (n + 1)  # crops of several scales may share an edge
        for crop in np.flatnonzero(run):
            corner = (crop % cols / cols + inset, crop // cols / rows + inset)
            size = (1 / cols - 2 * inset, 1 / rows - 2 * inset)
            colour = COLOURS[n % len(COLOURS)]
            ax.add_patch(Rectangle(corner, *size, fill=False, ec=colour, lw=1.8))


def _gains(ax: Axes, scale: ScaleLayout, gains: np.ndarray, limit: float) -> None:
    """Gain of every crop of one scale: green lowers the loss, purple raises it."""
    ax.set_axis_off()
    values = gains.reshape(scale.crops)
    ax.imshow(values, cmap="PRGn", vmin=-limit, vmax=limit, extent=(0, 1, 1, 0))
    digits = max(0, 1 - math.floor(math.log10(limit))) if limit > 0 else 0
    for (row, col), value in np.ndenumerate(values):
        at = ((col + 0.5) / scale.crops[1], (row + 0.5) / scale.crops[0])
        colour = "white" if abs(value) > 0.6 * limit else "black"  # on a dark cell, on a light one
        ax.text(*at, f"{value:+.{digits}f}", ha="center", va="center", fontsize=7, color=colour)
    size = Source.parse(scale.name).scales[0].partition(".")[0]
    set_title(ax, f"gain of each crop,\nscale {size}")
