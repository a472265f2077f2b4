"""Figure 2 style curves: which sources make which curve, on logarithmic axes, nothing hidden."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workbench.figures import style
from workbench.figures.curve import curves, draw_curve, named_points, side_by_side

TABLE = pd.DataFrame(
    {
        "source": ["bundled:b0@224", "bundled:b0@224+448", "bundled:b1@224", "bundled:b2@224"],
        "test_accuracy": [0.7, 0.8, 0.72, 0.75],
        "low": [0.6, 0.7, 0.62, 0.65],
        "high": [0.8, 0.9, 0.82, 0.85],
        "gmacs": [0.4, 2.0, 0.6, 0.9],
        "params": [4.0, 4.0, 5.0, 6.0],
    }
)


def test_s2_curve_starts_at_its_own_single_scale():
    grey, green = curves(TABLE)
    assert grey[:2] == ("model size", style.MODEL_SIZE)
    assert grey[2]["source"].tolist() == ["bundled:b0@224", "bundled:b1@224", "bundled:b2@224"]
    assert green[:2] == ("S2 of b0", style.S2_CURVES[0])
    assert green[2]["source"].tolist() == ["bundled:b0@224", "bundled:b0@224+448"]


def test_other_input_sizes_are_no_model_sizes():
    larger = pd.DataFrame(
        {
            "source": ["bundled:b0:448@448", "bundled:b0:336@336", "bundled:b3:300@300"],
            "test_accuracy": [0.79, 0.77, 0.76],
            "gmacs": [1.6, 1.0, 1.2],
            "params": [4.0, 4.0, 8.0],
        }
    )
    table = pd.concat([TABLE.drop(columns=["low", "high"]), larger], ignore_index=True)
    grey, green, purple = curves(table)
    assert grey.rows["source"].tolist() == [
        "bundled:b0@224", "bundled:b1@224", "bundled:b2@224", "bundled:b3:300@300"
    ]  # fmt: skip
    assert green.rows["source"].tolist() == ["bundled:b0@224", "bundled:b0@224+448"]
    assert purple[:2] == ("input size of b0", style.INPUT_SIZES[0])
    sources = ["bundled:b0@224", "bundled:b0:448@448", "bundled:b0:336@336"]
    assert purple.rows["source"].tolist() == sources
    assert purple.own[purple.rows.index].tolist() == [False, True, True]
    gmacs, _ = draw_curve(table).axes
    line = {line.get_label(): line for line in gmacs.get_lines()}["input size of b0"]
    assert line.get_xdata().tolist() == [0.4, 1.0, 1.6]
    assert line.get_markevery() == [False, True, True]


def test_axes_are_logarithmic_and_say_so():
    gmacs, params = draw_curve(TABLE).axes
    for ax, name in ((gmacs, "GMACs per image"), (params, "parameters (millions)")):
        assert ax.get_xscale() == "log"
        assert name in ax.get_xlabel()
        assert "log scale" in ax.get_xlabel()
    assert gmacs.get_ylabel() == "test accuracy\n(bars: 95 % intervals)"
    without = draw_curve(TABLE.drop(columns=["low", "high"])).axes[0]
    assert without.get_ylabel() == "test accuracy"


def test_every_source_has_one_interval_and_none_lies_over_another():
    for ax in draw_curve(TABLE).axes:
        ends = [line for drawn in ax.collections for line in drawn.get_segments()]
        assert len(ends) == len(TABLE)
        at = np.log(sorted(line[0, 0] for line in ends))
        assert np.diff(at).min() > 0.02 * np.ptp(at)


def test_costs_keep_their_order_and_move_only_where_they_are_alike():
    assert side_by_side(pd.Series([5.0, 4.0, 4.0])).sort_index().round(2).tolist() == [5, 4, 4.04]
    apart = pd.Series([3.0, 1.0, 9.0])
    assert side_by_side(apart).sort_index().tolist() == apart.tolist()


def test_a_name_is_on_the_side_of_its_point_where_the_next_dearer_one_is_not():
    axes = Figure().subplots()
    cost, score = pd.Series([2.0, 1.0, 4.0]), pd.Series([20.0, 10.0, 5.0])
    named_points(axes, cost, score, score - 1, score + 1, ["middle", "cheap", "dear"])
    below = {text.get_text() for text in axes.texts if text.get_position()[1] < 0}
    assert below == {"cheap"}


def test_curves_are_told_apart_without_colour():
    looks = [style.MODEL_SIZE, *style.S2_CURVES]
    markers, lines = ({look[n] for look in looks} for n in (1, 2))
    assert len(markers) == len(lines) == len(looks)
    markers |= {look[1] for look in style.INPUT_SIZES}
    assert len(markers) == len(looks) + len(style.INPUT_SIZES)
