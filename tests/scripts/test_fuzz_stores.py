"""A sample of each fuzzer of stores; scripts/benchmarks/results has the reports of whole runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZERS = Path(__file__).parents[2] / "scripts" / "fuzz"


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


def test_a_run_that_stops_at_any_call_is_completed_by_the_next():
    import crashes

    found = crashes.main(crashes.Crashes(points=20, seed=1))
    assert found["unexpected"] == []
    assert found["crash_points"] == 20


def test_extractions_that_start_together_share_a_new_store(tmp_path):
    report = tmp_path / "starts.json"
    script = [sys.executable, FUZZERS / "starts.py", "--starts", "7", "--out", report]
    subprocess.run(script, check=True, capture_output=True, timeout=600)
    found = json.loads(report.read_text())
    assert found["unexpected"] == []
    assert sum(found["exit_codes"].values()) == 7
