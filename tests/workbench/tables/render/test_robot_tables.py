"""Blocks of Table 10: the published counts, and trials of a simulated robot."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from workbench.tables.pipeline import committed
from workbench.tables.render import extra_tables, robot_tables
from workbench.tables.specs import tables


@pytest.fixture
def two_rows(monkeypatch):
    shared = {**committed.MAIN, "seeds": 1, "trials": 200, "control_hz": 80.2, "placed": 40}
    shared |= {"grasp_low": 0.2, "grasp_high": 0.4, "placed_low": 0.1, "placed_high": 0.3}
    shared |= {"grasp_by_seed": "60", "placed_by_seed": "40", "grasp_first": "5"}
    rows = [
        {"row": "Lite0", "grasp": 60, "gmacs_per_look": 0.4, "gmacs_per_step": 0.05, **shared},
        {
            "row": "Lite0-S2", "grasp": 80, "gmacs_per_look": 2.0, "gmacs_per_step": 0.25, **shared,
            "grasp_difference": 0.1, "grasp_difference_low": 0.02, "grasp_difference_high": 0.18,
            "grasp_p": 0.0123,
        },
        {
            "row": "blind", "grasp": 2, "gmacs_per_look": 0.0, "gmacs_per_step": 0.0, **shared,
            "task": "push-v3",
        },
    ]  # fmt: skip
    monkeypatch.setattr(robot_tables.experiments, "load", lambda name: pd.DataFrame(rows))


def test_counts_stand_beside_what_they_would_need():
    block = extra_tables.block("robot audit")
    by = {(row["size"], row["scales"]): row for row in block["records"]}
    assert by["Base", "224"]["successes"] == "7 of 16"
    assert by["Base", "224"]["95 % interval"] == "23, 67"
    assert by["Large", "224"]["trials needed"] == 247
    assert by["Base", "224+448"]["trials needed"] is None


def test_trials_in_simulation_have_intervals_and_paired_differences(two_rows):
    block = extra_tables.block("robot runs")
    by = {row["policy sees"]: row for row in block["records"]}
    assert by["Lite0"]["grasped (%)"] == "30.0 [20, 40]"
    assert by["Lite0"]["grasped, minus base"] == ""
    assert by["Lite0-S2"]["grasped, minus base"] == "+10.0 [+2.0, +18.0], p 0.012"
    assert by["Lite0-S2"]["view"] == "as recorded"
    assert by["blind"]["grasped (%)"] == "", "only the task of picking has a grasp"
    assert by["blind"]["placed (%)"] == "20.0 [10, 30]"
    assert by["Lite0-S2"]["GMACs per step"] == 0.25
    assert by["Lite0-S2"]["Hz"] == 80
    assert by["Lite0"]["grasped, first 16"] == "5"


def test_rows_of_the_paper_are_filled_by_their_stand_ins(two_rows):
    found = committed.robot(None, ["Lite0", "Lite2", "Lite0-S2"], {})
    assert found.values["Lite0"]["grasped"] == pytest.approx((30.0, 20.0, 40.0))
    assert found.values["Lite0-S2"]["grasped"] == pytest.approx((40.0, 20.0, 40.0))
    assert math.isnan(found.values["Lite2"]["grasped"][0])
    assert "Lite2: not yet run" in found.notes
    table = tables()["10"]
    for profile in ("bundled", "paper"):
        asked = table.setups[profile].quantities["success_rate"]
        assert set(asked) == set(table.labels())
        assert {ask.source for ask in asked.values()} == {"Lite0", "Lite2", "Lite0-S2"}
        assert asked["MVP", "Base", "224+448"].source == "Lite0-S2"


def test_the_figure_shows_the_main_experiment_alone(two_rows):
    drawn = robot_tables.figure()
    left, right = drawn.axes
    assert {text.get_text() for text in right.texts} == {"Lite0", "Lite0-S2"}
    assert len(left.texts) == 3


def test_a_summary_without_any_run_is_an_empty_block(monkeypatch):
    monkeypatch.setattr(
        robot_tables.experiments, "load",
        lambda name: pd.DataFrame(columns=[*committed.MAIN, "row", "seeds", "trials", "grasp",
                                           "grasp_low", "grasp_high", "placed", "placed_low",
                                           "placed_high", "gmacs_per_look", "gmacs_per_step",
                                           "control_hz", "grasp_by_seed", "placed_by_seed",
                                           "grasp_first"], dtype=float),
    )  # fmt: skip
    assert extra_tables.block("robot runs")["records"] == []
    assert len(robot_tables.figure().axes) == 2
