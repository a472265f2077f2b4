"""Figures of a reconstruction: where labels stand, what axes are called, lines told apart."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from workbench.figures.reconstruction import draw_information, draw_map, draw_ranks

SOURCES = ["m:small@224", "m:small@224+448", "m:large@224"]


@pytest.fixture
def result():
    info = np.array([1.0, 1.2, 1.1])
    by = "source"
    return xr.Dataset(
        {
            "test_info_bits": (by, info),
            "test_info_low": (by, info - 0.05),
            "test_info_high": (by, info + 0.05),
            "train_info_bits": (by, info + np.array([0.1, 0.2, 3.0])),
            "test_ratio": (by, info / info[2]),
            "info_map": ((by, "row", "col"), np.arange(12.0).reshape(3, 2, 2)),
            "rank_info": ((by, "rank"), np.outer(info, [0, 0.5, 1])),
        },
        coords={"source": SOURCES, "rank": [0, 1, 2]},
        attrs={"target": "m:huge@260", "reference": SOURCES[2], "test_images": 30},
    )


def test_ratios_stand_beside_their_bars_within_the_axes(result):
    figure = draw_information(result)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    found = {t.get_text(): t for t in ax.texts}
    ratios = ["90.9 %", "109.1 %", "100.0 % (reference)"]
    assert set(ratios) < set(found)
    for ratio, end in zip(ratios, result["test_info_high"].values, strict=True):
        box = found[ratio].get_window_extent()
        gap = box.x0 - ax.transData.transform((end, 0))[0]
        assert 0 < gap < 0.2 * ax.bbox.width
        assert box.x1 < ax.bbox.x1 + 1


def test_the_axis_follows_the_bars_and_a_far_training_figure_is_a_number(result):
    (ax,) = draw_information(result).axes
    assert ax.get_xlim()[1] < 2 * float(result["test_info_high"].max())
    assert "4.10 →" in [t.get_text() for t in ax.texts]


def test_no_text_lies_over_another(result):
    figure = draw_information(result)
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])


def test_a_map_has_title_axes_and_says_over_what_it_is_the_mean(result):
    figure = draw_map(result)
    assert "huge @ 260: mean over 30 test images" in figure.get_suptitle()
    *panels, bar = figure.axes
    assert {ax.get_xlabel() for ax in panels} == {"token column"}
    assert panels[0].get_ylabel() == "token row"
    assert bar.get_ylabel() == "information, bits"


def test_lines_of_ranks_differ_in_colour_marker_dashes_and_width(result):
    (ax,) = draw_ranks(result).axes
    for get in ("get_color", "get_marker", "get_linestyle", "get_linewidth"):
        found = [getattr(line, get)() for line in ax.get_lines()]
        assert len(set(found)) >= (2 if get == "get_linestyle" else 3), get
