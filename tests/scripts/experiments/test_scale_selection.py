"""The list of runs of the scale selection: what is missing is measured, on all images."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/scale_selection.py"


def test_missing_runs_are_measured_on_all_images(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    script = runpy.run_path(str(SCRIPT))
    names = script["main"].__globals__
    monkeypatch.setitem(names, "RESULTS", tmp_path)
    monkeypatch.setitem(names, "both_stored", lambda name, asked: ())
    monkeypatch.setitem(names, "measured", lambda name, stores: {"data": name})
    (tmp_path / "nyu13.json").write_text("{}")
    line = ["scale_selection.py", "--data", str(tmp_path), "--only", "nyu13", "camvid"]
    monkeypatch.setattr(sys, "argv", [*line, "--limit", "20"])
    with pytest.raises(SystemExit):  # the result would be taken for one of all images
        script["main"]()
    for more, done in ((["--extract"], {"nyu13"}), ([], {"nyu13", "camvid"})):
        monkeypatch.setattr(sys, "argv", [*line, *more])
        script["main"]()
        assert {path.stem for path in tmp_path.iterdir()} == done
    assert json.loads((tmp_path / "nyu13.json").read_text()) == {}
