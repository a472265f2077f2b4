"""A metric of every source with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from workbench.figures import style
from workbench.figures.sources import is_s2, short


@style.styled
def draw_sources(
    table: pd.DataFrame, *, metric: str = "test_accuracy", label: str = "test accuracy"
) -> Figure:
    """One point and 95 % interval (``low``, ``high``) per source, in the table's order."""
    drawn, (axes,) = style.figure(7.0, 1.0 + 0.45 * len(table))
    for height, row in enumerate(table.to_dict("records")):
        colour, marker, _ = style.S2_CURVES[0] if is_s2(row["source"]) else style.MODEL_SIZE
        axes.hlines(height, row["low"], row["high"], color=colour, lw=1.5)
        axes.plot([row[metric]], [height], marker=marker, color=colour, ls="", ms=7, zorder=3)
        axes.annotate(
            f"{row[metric]:.3f}", (row["high"], height), (5, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(table)), [short(name) for name in table["source"]])
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.2)
    axes.set_xlabel(f"{label}, 95 % interval")
    return drawn
