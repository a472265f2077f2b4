"""Latency of one image and peak memory against scale, by the way its crops are run."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from workbench.figures import style
from workbench.multiscale import Scale

LOOKS: dict[str, style.Look] = {
    "batched": (style.GREEN, "o", "-"),
    "sequential": ("#9970ab", "v", "--"),
    "workers": ("#2166ac", "^", "-."),
    "whole": style.MODEL_SIZE,
}
NAMES = {
    "batched": "crops in one batch",
    "sequential": "one crop after the other",
    "workers": "crops shared among processes",
    "whole": "the whole image in one piece",
}
PANELS = {"seconds": "seconds for one image", "peak_mb": "peak memory, MB"}


@style.styled
def draw_latency(table: pd.DataFrame) -> Figure:
    """Seconds and peak memory of one image, of :func:`workbench.cost.latency`, against its side."""
    drawn, panels = style.figure(9.0, 3.8, columns=2)
    placed = table.assign(side=[Scale.parse(scale).height for scale in table["scale"]])
    for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
        for way, rows in placed.groupby("way", sort=False):
            at = rows.sort_values("side")
            style.curve(axes, at["side"], at[column], LOOKS[str(way)], NAMES[str(way)])
            if column == "seconds":
                colour = LOOKS[str(way)][0]
                axes.vlines(at["side"], at["low"], at["high"], color=colour, lw=1.5)
        axes.set(xlabel="side of the image in pixels", ylabel=label)
        axes.set_ylim(bottom=0)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return drawn
