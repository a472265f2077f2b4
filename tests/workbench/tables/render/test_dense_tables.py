"""Blocks of Tables 6, 7, 11 and 12 from hand-made lines of the summary."""

from __future__ import annotations

import pandas as pd
import pytest

from analyses.experiments import dense
from workbench.tables.render import dense_tables, extra_tables, figures
from workbench.tables.specs import tables

LITE0 = "bundled:efficientnet_lite0@224"


def line(row, value, *, data="camvid", metric="miou", head="linear", difference=None, **more):
    found = {
        "data": data, "row": row, "head": head, "source": LITE0, "grid": "7 x 7", "gmacs": 1.816,
        "train_images": 367, "test_images": 233, "metric": metric, "value": value, "seeds": 3,
        "low": value - 0.01, "high": value + 0.01, **more,
    }  # fmt: skip
    if difference is not None:
        ends = {"difference_low": difference - 0.02, "difference_high": difference + 0.02}
        found |= {"difference": difference, **ends}
    return found


@pytest.fixture
def lines(monkeypatch):
    def put(*rows):
        found = pd.DataFrame(rows, columns=dense.COLUMNS)
        monkeypatch.setattr(dense_tables.experiments, "load", lambda name: found)

    return put


S2 = line("Lite0-S2", 0.34, part="Seq05VD", part_value=0.32, part_low=0.31, part_high=0.33)
ROWS = (
    line("Lite0", 0.276, difference=0.065),
    S2,
    line("Lite0-S2 whole", 0.35, difference=-0.01),
    line("Lite0-S2", 0.5, head="mask2former", iterations=400, hidden=64),
    line("Lite0", 0.8041, data="depth_rooms", metric="rmse", difference=-0.0284),
)


def test_scores_are_in_percent_or_metres_with_intervals_and_differences(lines):
    lines(*ROWS)
    block = extra_tables.block("dense 6")
    one, two, three = block["records"]
    assert (one["images"], one["head"], one["row"]) == ("CamVid", "linear head", "Lite0")
    assert one["mIoU (%)"] == "27.6 [26.6, 28.6]"
    assert one["Lite0-S2 minus this"] == "+6.5 [+4.5, +8.5]"
    assert two["Lite0-S2 minus this"] == ""
    assert two["Seq05VD alone"] == "32.0 [31.0, 33.0]"
    assert (one["Seq05VD alone"], one["GMACs"], one["seeds"]) == ("", 1.82, 3)
    assert three["head"] == "mask2former, 400 steps"
    (depth,) = extra_tables.block("dense 7")["records"]
    assert depth["RMSE (m)"] == "0.804 [0.794, 0.814]"
    assert depth["Lite0-S2 minus this"] == "−0.028 [−0.048, −0.008]"


def test_the_caption_names_images_heads_and_what_is_not_the_papers(lines):
    lines(*ROWS)
    caption = extra_tables.block("dense 6")["caption"]
    for said in (
        "CamVid (367 training and 233 test images)", "mask2former (400 steps, 64 channels)",
        "comparable with the paper's", "the same grid", "95 %",
    ):  # fmt: skip
        assert said in caption
    assert "mask2former" not in extra_tables.block("dense 7")["caption"]


def test_tables_11_and_12_hold_their_pair_where_both_were_run(lines):
    lines(*ROWS)
    found = extra_tables.block("dense 11")["records"]
    assert [row["row"] for row in found] == ["Lite0-S2", "Lite0-S2 whole"]
    assert {row["head"] for row in found} == {"linear head"}
    block = extra_tables.block("dense 12")
    assert block["records"] == []
    assert "No run" in block["caption"]


def test_a_figure_has_a_panel_for_each_data_set_of_its_table(lines):
    lines(*ROWS)
    for key, title in (("6", "CamVid"), ("7", "two rooms")):
        assert tables()[key].figure == "dense"
        drawn = figures.FIGURES["dense"](tables()[key], {})
        assert [ax.get_title("left") for ax in drawn.axes] == [title]
    assert "whole" not in {text.get_text() for text in drawn.axes[0].texts}


def test_without_runs_there_is_no_figure_and_the_page_says_that_none_is_there(lines):
    lines()
    assert figures.FIGURES["dense"](tables()["6"], {}) is None
    assert dense_tables.page().count("No run is committed yet.") == 4
