"""Rows of Table 4 from records: means over seeds, paired differences, rows below their floor."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.pretraining import experiment

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=1000) * 0.01
"""What resampling test images does to every row alike."""


def record(row, accuracy, *, objective="supervised", budgets=("images",), seed=0, scales="1x"):
    probe = {"accuracy": accuracy, "resampled": (accuracy + IMAGES).tolist()}
    return {
        "row": row, "objective": objective, "budgets": list(budgets), "seed": seed,
        "images": 100, "gmacs_per_image": 0.5, "probes": {scales: probe, "1x+2x": probe},
    }  # fmt: skip


def records(**changed):
    means = {"small": 0.5, "large": 0.6, "small-S2": 0.7} | changed
    found = [record(row, mean + 0.01 * seed, seed=seed) for row, mean in means.items()
             for seed in (0, 1)]  # fmt: skip
    floors = [record(row, 0.3, objective="none", budgets=("none",))
              for row in ("pixels", "random-small", "random-large")]  # fmt: skip
    return found + floors


def test_rows_are_means_over_seeds_with_intervals_over_images_and_seeds():
    table = experiment.compute(records(), objective="supervised", budget="images")
    assert table["row"].tolist() == list(experiment.ROWS)
    assert table["accuracy"].tolist() == pytest.approx([0.505, 0.605, 0.505, 0.705])
    assert table["seeds"].tolist() == [2] * 4
    assert table["compute"].tolist() == [50.0] * 4
    assert table["learned"].all()
    widths = table["high"] - table["low"]
    assert (widths > 0.03).all()


def test_differences_are_paired_by_image():
    table = experiment.compute(records(), objective="supervised", budget="images")
    found = experiment.differences(table).set_index("against")
    assert found.loc["Large", "difference"] == pytest.approx(0.1)
    for row in found.itertuples():
        assert row.high - row.low < 0.03, "images move both rows alike; only seeds are left"
        assert row.low > 0


def test_a_row_that_does_not_lie_above_its_floor_did_not_learn():
    table = experiment.compute(records(small=0.3), objective="supervised", budget="images")
    assert table.set_index("row")["learned"].to_dict() == {
        "Base": False, "Large": True, "Base-S2 after training": False,
        "Base-S2 in training": True,
    }  # fmt: skip


def test_rows_that_were_not_run_are_left_out():
    some = [one for one in records() if one["row"] != "small-S2"]
    table = experiment.compute(some, objective="supervised", budget="images")
    assert "Base-S2 in training" not in set(table["row"])
    assert len(experiment.differences(table)) == 0
    assert len(experiment.compute(some, objective="dinov2", budget="images")) == 0
    alone = [one for one in records() if one["row"] not in ("small", "large")]
    table = experiment.compute(alone, objective="supervised", budget="images")
    assert experiment.differences(table)["against"].tolist() == []


def test_committed_records_have_what_is_read():
    for one in experiment.load():
        for probe in one["probes"].values():
            assert len(probe["resampled"]) == 1000
            assert np.mean(probe["resampled"]) == pytest.approx(probe["accuracy"], abs=0.01)
        assert one["objective"] in ("supervised", "dinov2", "none")
