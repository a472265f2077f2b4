"""The pilot's rule and the tables of the multimodal experiment, from hand-made results."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

from analyses import experiments
from workbench.tables.render import case_studies, figures

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/multimodal.py"
S2 = "Lite0-S2 3 scales raw"


@pytest.fixture
def script(tmp_path, monkeypatch):
    pytest.importorskip("peft", reason="install the extra: vlm")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found = runpy.run_path(str(SCRIPT))
    results, summaries = tmp_path / "results", tmp_path / "summaries"
    results.mkdir()
    summaries.mkdir()
    found["summary"].__globals__.update(RESULTS=results, SUMMARIES=summaries)
    monkeypatch.setattr(experiments, "files", lambda name: summaries)
    return found


def put(script, study, row, right, seed=0):
    """A result with so many right of 40 questions for each type, dict of type to number."""
    run = script["Run"](study=study, row=row, seed=seed)
    total = sum(right.values())
    one = {
        **vars(run), "source": script["ROWS"][row], "gmacs": 1.0, "image_tokens": 49,
        "questions": 40 * len(right), "accuracy": total / 40 / len(right), "low": 0.1, "high": 0.9,
        "by_type": {name: {"questions": 40, "accuracy": n / 40} for name, n in right.items()},
    }  # fmt: skip
    path = script["summary"].__globals__["RESULTS"] / run.path.name
    path.write_text(json.dumps(one))


def table(script):
    script["write_summary"]()
    return case_studies.experiment("tables_1_8_9_multimodal")


def test_nothing_is_concluded_without_a_pilot_that_learned(script):
    assert "No run" in table(script)[1]
    put(script, "objects", "Lite0", {"attribute 64": 20, "spatial 8": 10})
    assert "pilot has not been run" in table(script)[1]
    put(script, "pilot", "blind", {"attribute 64": 8, "spatial 64": 20, "attribute 32": 0})
    assert "pilot has not been run" in table(script)[1]
    put(script, "pilot", S2, {"attribute 64": 16, "spatial 64": 27, "attribute 32": 40})
    assert "+18.8 points" in table(script)[1]  # 43 and 28 of 80
    put(script, "pilot", S2, {"attribute 64": 17, "spatial 64": 27, "attribute 32": 0})
    assert "Nothing is concluded" not in table(script)[1]


def test_sizes_are_pooled_over_seeds_and_kinds_and_drawn_as_seen(script, tmp_path):
    assert case_studies.sizes_figure() is None
    for seed in (0, 1):
        put(script, "objects", "Lite0", {"attribute 64": 20, "spatial 64": 30}, seed)
        put(script, "objects", S2, {"attribute 64": 30, "spatial 8": 20}, seed)
    put(script, "daquar", "Lite0", {"colour": 3})
    _, _, frame = table(script)
    assert len(frame) == 5
    sizes = case_studies.by_size().set_index(["row", "seed"])
    assert sizes.loc[("Lite0", 1), ["size", "questions", "right"]].tolist() == [64, 80, 50]
    picture, seen = case_studies.sizes_figure().axes
    shown = {line.get_label(): line.get_xydata().tolist() for line in picture.lines}
    assert shown["Lite0"] == [[64, 62.5]]
    assert shown[S2] == [[8, 50], [64, 75]]
    at = {line.get_label(): line.get_xdata().tolist() for line in seen.lines}
    assert at[S2] == [4, 32]
    assert at["Lite0"] == [pytest.approx(64 * 224 / 1344)]
    assert set(figures.FIGURES) >= {"object sizes", "robot"}


def test_the_committed_tables_are_the_summary_of_the_committed_runs(monkeypatch):
    pytest.importorskip("peft", reason="install the extra: vlm")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    script = runpy.run_path(str(SCRIPT))
    runs = script["results"]()
    if runs:
        stored = experiments.load(script["SIZES"])
        pd.testing.assert_frame_equal(stored, script["by_size"](runs), check_dtype=False)
        assert len(experiments.load(script["SUMMARY"])) == len(runs)
