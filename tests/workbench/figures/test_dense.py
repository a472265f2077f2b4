"""Dense scores against cost: colours tell what grew, markers the head, hollow ones another grid."""

from __future__ import annotations

import pandas as pd

from workbench.figures import style
from workbench.figures.dense import draw_dense

ROWS = {
    "Lite0": ("7 x 7", 0.4), "Lite2": ("7 x 7", 0.8), "Lite2 native size": ("9 x 9", 0.8),
    "Lite0-S2": ("7 x 7", 1.8), "Lite0 unpooled": ("14 x 14", 1.4),
}  # fmt: skip


def table(heads, metric="miou"):
    return pd.DataFrame(
        {
            "data": "a", "row": row, "head": head, "grid": grid, "gmacs": gmacs, "metric": metric,
            "value": 0.3, "low": 0.29, "high": 0.32,
        }
        for head in heads
        for row, (grid, gmacs) in ROWS.items()
    )  # fmt: skip


def points(ax):
    """Colour and face of each marker, in the order of the rows."""
    found = [line for line in ax.get_lines() if line.get_marker() not in ("None", None, "")]
    return [(line.get_color(), line.get_markerfacecolor(), line.get_marker()) for line in found]


def test_model_size_is_grey_scales_are_green_and_another_grid_is_hollow():
    (ax,) = draw_dense(table(["linear"]), {"a": "Streets"}).axes
    assert [(colour, face) for colour, face, _ in points(ax)] == [
        (style.GREY, style.GREY), (style.GREY, style.GREY), (style.GREY, "white"),
        (style.GREEN, style.GREEN), (style.GREEN, "white"),
    ]  # fmt: skip
    assert ax.get_title("left") == "Streets"
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["Lite0", "Lite2", "Lite2, 9 x 9", "S2", "448, 14 x 14"]


def test_heads_have_markers_and_their_names_in_the_legend():
    drawn = draw_dense(table(["linear", "vpd"], metric="rmse"), {"a": "Rooms"})
    (ax,) = drawn.axes
    assert [marker for _, _, marker in points(ax)] == ["o"] * 5 + ["s"] * 5
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()][-2:] == ["linear", "vpd"]
    assert "lower is better" in ax.get_ylabel()
    assert points(ax)[0][0] == style.GREY


def test_three_data_sets_fill_two_columns():
    frame = pd.concat([table(["linear"]).assign(data=name) for name in "abc"])
    drawn = draw_dense(frame, {name: name for name in "abc"})
    assert [ax.axison for ax in drawn.axes] == [True, True, True, False]
