"""Every part of the benchmark of pre-training with a tiny model; a record for each model."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/benchmarks/pretraining.py"
MODEL = "timm:test_vit:64"


@pytest.fixture
def script(tmp_path):
    own = runpy.run_path(str(SCRIPT))["main"].__globals__
    own.update(RESULTS=tmp_path / "pretraining.json", LOADED=4, LOADED_BATCH=2)
    own["DATASETS"] = own["DATASETS"][-1:]
    return own


def measured(script, monkeypatch, *words):
    line = [str(SCRIPT), "--batch", "2", "--rounds", "1", *words]
    monkeypatch.setattr(sys, "argv", line)
    script["main"]()
    return json.loads(script["RESULTS"].read_text())


@pytest.mark.slow
def test_every_part_runs_and_the_records_of_other_models_stay(script, monkeypatch, capsys):
    parts = script["PARTS"]
    found = measured(script, monkeypatch, "--model", MODEL)[MODEL]
    assert found["1x+2x"]["speed_over_bare"] > 0
    assert found["memory"]["batch"] == 8
    assert found["multi-crop"]["crops"] == {"2 large": 64, "8 small": 32}
    for part in ("loading", "multi-crop"):
        assert all(rate > 0 for rate in found[part]["images_per_s"].values())

    other = "timm:test_vit2:64"
    both = measured(script, monkeypatch, "--model", other, "--part", "multi-crop")
    assert both[MODEL] == found
    assert set(both[other]) & set(parts) == {"multi-crop"}
    more = measured(script, monkeypatch, "--model", other, "--part", "loading")[other]
    assert set(more) & set(parts) == {"loading", "multi-crop"}
    new = measured(
        script, monkeypatch, "--model", other, "--part", "loading", "--arithmetic", "bf16"
    )
    assert set(new[other]) & set(parts) == {"loading"}, "other figures are of another arithmetic"
    assert new[MODEL] == found
