"""A sample of each fuzzer of stores; their reports of whole runs lie beside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FUZZERS = Path(__file__).parents[3] / "scripts" / "fuzz"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FUZZERS))
    yield
    for name in ("toy_store", "metadata", "crashes"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("layout", ["raw", "packed"])
def test_flipped_bytes_of_metadata_are_noticed_and_repaired(layout):
    import metadata

    found = metadata.main(metadata.Flips(layout=layout, sample=10, seed=1))
    assert found["unexpected"] == []
    assert sum(found["outcomes"].values()) == 10


KINDS = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_takes_the_place_of_a_file_is_noticed_and_repaired(kind, tmp_path):
    import metadata
    import toy_store

    good, path = tmp_path / "good", tmp_path / "s"
    with toy_store.small_id_chunks(), toy_store.one_thread():
        toy_store.extract(good, 5, "packed")
        truth = toy_store.facts(good)
        found = {}
        for file in sorted(p.relative_to(good) for p in good.rglob("*") if p.is_file()):
            shutil.copytree(good, path)
            (path / file).unlink()
            KINDS[kind](path / file)
            found[str(file)] = metadata.one(path, truth, False, "packed")
            shutil.rmtree(path)
    assert {f: o for f, o in found.items() if o != "noticed and repaired"} == {}


def test_a_run_that_stops_at_any_call_is_completed_by_the_next():
    import crashes

    found = crashes.main(crashes.Crashes(points=20, seed=1))
    assert found["unexpected"] == []
    assert found["crash_points"] == 20


@pytest.mark.parametrize(
    ("name", "unit", "count"),
    [
        ("crashes", "crash_points", 300),
        ("starts", "starts", 50),
        ("metadata_raw", "flips", 5555),
        ("metadata_packed", "flips", 6255),
    ],
)
def test_the_recorded_runs_are_whole_and_clean(name, unit, count):
    found = json.loads((FUZZERS / f"{name}.json").read_text())
    assert found[unit] >= count
    assert found[unit] == found.get("bytes", found[unit])  # no byte was left out
    assert found["unexpected"] == []


def test_extractions_that_start_together_share_a_new_store(tmp_path):
    report = tmp_path / "starts.json"
    script = [sys.executable, FUZZERS / "starts.py", "--starts", "7", "--out", report]
    subprocess.run(script, check=True, capture_output=True, timeout=600)
    found = json.loads(report.read_text())
    assert found["unexpected"] == []
    assert sum(found["exit_codes"].values()) == 7
