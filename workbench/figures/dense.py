"""Dense scores against cost: larger models in grey, more scales in green, a marker per head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench.figures import style
from workbench.figures.curve import side_by_side

SIZES = ("Lite0", "Lite1", "Lite2")
"""Rows of the curve over model sizes, all on one grid."""
SCALES = ("Lite0", "Lite0-S2", "Lite0-S2 3 scales")
"""Rows of the curve over scales."""
METRICS = {"miou": ("mIoU (%)", 100), "rmse": ("RMSE (m)", 1)}
"""Metric → its name, and the factor from a score."""
PLACES = {
    "Lite0": (-6, -3), "Lite1": (5, -9), "Lite2": (-5, 4), "Lite1 native size": (5, -8),
    "Lite2 native size": (-5, -9),
    "Lite0-S2": (-5, -9), "Lite0-S2 raw": (6, -3), "Lite0-S2 3 scales": (4, -10),
}  # fmt: skip
"""Row → where its name stands, in points from its marker; others stand above, to the right."""


@style.styled
def draw_dense(table: pd.DataFrame, panels: Mapping[str, str]) -> Figure:
    """A panel for each dataset; rows whose grid is not that of the curves are hollow.

    Parameters
    ----------
    table : pandas.DataFrame
        ``data``, ``row``, ``head``, ``grid``, ``gmacs``, ``metric``, ``value``, ``low``, ``high``;
        mean IoU as a share, RMSE in metres.
    panels : mapping
        Dataset → title.
    """
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure, axes = style.figure(4.8 * columns, 3.6 * lines + 0.4, rows=lines, columns=columns)
    heads = list(dict.fromkeys(table["head"]))
    markers = dict(zip(heads, style.MARKERS, strict=False))
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (data, title) in zip(axes, panels.items(), strict=False):
        part = table[table["data"] == data]
        part = part.assign(named=~part.duplicated("row"))  # once, for the first of its heads
        for head, rows in part.groupby("head", sort=False):
            _draw_head(ax, rows, markers[str(head)])
        metric = part["metric"].iloc[0]
        name = METRICS[metric][0] + (", lower is better" if metric == "rmse" else "")
        ax.set_title(title)
        ax.set_ylabel(f"{name}\n(bars: 95 % intervals)")
        ax.set_xscale("log")
        ax.margins(x=0.22, y=0.1)
        style.log_axis(ax.xaxis)
        ax.set_xlabel("GMACs per image, log scale\n(equal costs side by side)")
    figure.legend(
        handles=_handles(markers), loc="outside upper left", ncols=3, fontsize=9,
        handlelength=3,
    )  # fmt: skip
    return figure


def _draw_head(ax: Axes, rows: pd.DataFrame, marker: str) -> None:
    """Curves, points with intervals, and names of one head's rows."""
    factor = METRICS[rows["metric"].iloc[0]][1]
    rows = rows.assign(**{name: factor * rows[name] for name in ("value", "low", "high")})
    rows["at"] = side_by_side(rows.sort_values("gmacs", kind="stable")["gmacs"])
    grid = _grid(rows)
    for names, (colour, _, line) in ((SIZES, style.MODEL_SIZE), (SCALES, style.S2_CURVES[0])):
        curve = rows[rows["row"].isin(names)].sort_values("gmacs")
        ax.plot(curve["at"], curve["value"], color=colour, ls=line, lw=1.2, zorder=2)
    for row in rows.itertuples():
        colour = style.GREEN if _scales(row.row) else style.GREY
        ax.vlines(row.at, row.low, row.high, color=colour, lw=1, alpha=0.7)
        face = "white" if row.grid != grid else colour
        ax.plot(row.at, row.value, marker, color=colour, mfc=face, ms=6, zorder=3)
        name = row.row.replace("Lite0-", "").replace("Lite0 unpooled", "448")
        name = name.removesuffix(" native size")
        place = PLACES.get(row.row, (5, 4))
        if row.named:
            ax.annotate(
                f"{name}, {row.grid}" if row.grid != grid else name, (row.at, row.value),
                fontsize=7, xytext=place, textcoords="offset points",
                ha="right" if place[0] < 0 else "left",
            )  # fmt: skip


def _scales(row: str) -> bool:
    """Whether a row enlarges the image, not the model."""
    return row.startswith("Lite0") and row != SIZES[0]


def _grid(rows: pd.DataFrame) -> str:
    """Grid of the rows on the curves."""
    return str(rows.loc[rows["row"].isin([*SIZES, *SCALES]), "grid"].mode().iloc[0])


def _handles(markers: Mapping[str, str]) -> Sequence[Line2D]:
    looks = (("model size", style.MODEL_SIZE), ("scales of Lite0", style.S2_CURVES[0]))
    found = [Line2D([], [], color=look[0], ls=look[2], label=name) for name, look in looks]
    hollow = Line2D([], [], color=style.INK, marker="o", mfc="white", ls="", label="another grid")
    heads = [
        Line2D([], [], color=style.INK, marker=marker, ls="", label=name)
        for name, marker in markers.items()
    ]
    return [*found, hollow, *heads]
