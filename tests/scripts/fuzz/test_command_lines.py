"""A sample of malformed command lines; scripts/fuzz/command_lines.json records a long run."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

FUZZ = Path(__file__).parents[3] / "scripts" / "fuzz"


def test_malformed_lines_end_with_a_message():
    found = runpy.run_path(str(FUZZ / "command_lines.py"))["fuzz"](26, seed=3, seconds=600)
    assert found["findings"] == []
    assert found["outcomes"]["2"] > 13


def test_faults_are_found(monkeypatch):
    """What the fuzzer takes for a fault: an exception, another exit status, a raw character."""
    script = runpy.run_path(str(FUZZ / "command_lines.py"))
    run = script["run"]

    def fail(arguments):
        return 1 / len(arguments)

    for main, outcome in (
        (fail, "ZeroDivisionError"),
        (lambda arguments: 3, "3"),
        (lambda arguments: print("\x1b[2J") or 2, "control character"),
        (lambda arguments: 2, "2"),
    ):
        monkeypatch.setitem(run.__globals__, "main", main)
        assert run([])[0] == outcome


def test_the_recorded_run_is_long_and_clean():
    found = json.loads((FUZZ / "command_lines.json").read_text())
    assert found["lines"] >= 1000
    assert found["findings"] == []
