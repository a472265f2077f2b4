"""Scores over images and seeds, and what S2 has over other rows, from hand-made runs."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.experiments import dense

GMACS = {"Lite0": 0.4, "Lite0-S2": 1.8, "Lite2": 0.9}
RESAMPLED = [0.1, 0.2, 0.3, 0.4, 0.5]


def run(row, miou, resampled, seed=0, data="camvid", **more):
    return {
        "data": data, "row": row, "head": "linear", "seed": seed, "source": f"bundled:{row}@224",
        "grid": [7, 7], "train_images": 4, "test_images": 5, "miou": miou, "resampled": resampled,
        **more,
    }  # fmt: skip


def lines(runs, parts=None):
    return dense.compute(runs, GMACS, parts or {}).set_index("row")


def shifted(by):
    return [value + by for value in RESAMPLED]


def test_one_seed_keeps_its_interval_and_differences_are_paired():
    found = lines([run("Lite0", 0.3, RESAMPLED), run("Lite0-S2", 0.4, shifted(0.1))])
    assert found.loc["Lite0", ["value", "low", "high"]].tolist() == [0.3, 0.11, 0.49]
    columns = ["difference", "difference_low", "difference_high"]
    assert found.loc["Lite0", columns].tolist() == pytest.approx([0.1] * 3)
    assert found.loc["Lite0-S2", columns].isna().all()
    assert found.loc["Lite0", ["grid", "gmacs"]].tolist() == ["7 x 7", 0.4]


def test_only_seeds_of_both_rows_are_compared():
    runs = [run("Lite0", 0.3, RESAMPLED, seed=0), run("Lite0", 0.1, RESAMPLED, seed=1)]
    found = lines([*runs, run("Lite0-S2", 0.4, shifted(0.1), seed=1)])
    assert found.loc["Lite0", ["value", "seeds", "shared_seeds"]].tolist() == [0.2, 2, 1]
    assert found.loc["Lite0", "difference"] == pytest.approx(0.3)
    assert found.loc["Lite0-S2", "seeds"] == 1


def test_rows_of_other_images_heads_or_lengths_are_not_compared():
    decoder = {"head": "vpd", "decoder": {"hidden": 64}}
    runs = [
        run("Lite0", 0.3, RESAMPLED, data="nyu13"),
        run("Lite0", 0.3, RESAMPLED, **decoder, training={"iterations": 10}),
        run("Lite0-S2", 0.4, RESAMPLED),
        run("Lite0-S2", 0.4, RESAMPLED, **decoder, training={"iterations": 20}),
    ]
    found = dense.compute(runs, GMACS, {})
    assert found["difference"].isna().all()
    assert found["iterations"].dropna().tolist() == [10, 20]


def test_a_part_is_scored_alone():
    both = ((0.2, RESAMPLED), (0.25, shifted(0.05)))
    parts = [{"Seq": {"images": 3, "miou": value, "resampled": of}} for value, of in both]
    runs = [run("Lite2", 0.3, RESAMPLED, **parts[0]), run("Lite0-S2", 0.4, RESAMPLED, **parts[1])]
    found = lines(runs, {"camvid": "Seq"})
    assert found.loc["Lite2", ["part", "part_images", "part_value"]].tolist() == ["Seq", 3, 0.2]
    assert found.loc["Lite2", "part_difference"] == pytest.approx(0.05)


def test_more_seeds_do_not_narrow_what_the_images_leave_open():
    rng = np.random.default_rng(0)
    widths = []
    for seeds in (1, 3):
        _, low, high = dense.over_seeds({s: (0.0, rng.normal(size=2000)) for s in range(seeds)})
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    _, low, high = dense.over_seeds({s: (float(s), np.full(500, float(s))) for s in range(3)})
    assert (low, high) == pytest.approx((0, 2), abs=0.35)


def test_no_run_is_a_table_without_lines():
    assert dense.compute([], {}, {}).columns.tolist() == dense.COLUMNS
