"""``workbench status RUN``: how far a run is, from its folder alone."""

from __future__ import annotations

import json

from workbench.cli import main
from workbench.results import strict_json
from workbench.training.files import FINISHED


def folder_of(tmp_path, *, steps=(10, 20)):
    record = {"identity": {"training": {"iterations": 40}, "model": "m"}, "environment": {}}
    strict_json.write(record, tmp_path / "run.json")
    for step in steps:
        (tmp_path / f"step_{step:010d}.0123456789abcdef.pt").write_bytes(b"")
    (tmp_path / "metrics.csv").write_text("step,loss\n20,1.5\n24,1.25\n28,")
    return str(tmp_path)


def test_a_run_on_its_way(tmp_path, capsys):
    assert main(["status", folder_of(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["steps_done"], found["steps_total"], found["complete"]) == (24, 40, False)
    assert found["checkpoints"] == [20, 10]
    assert found["metrics"] == {"step": "24", "loss": "1.25"}, "a row being written is left out"
    assert found["evaluation"] is None
    assert main(["status", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "24/40" in said
    assert "after step 20" in said


def test_a_finished_run_and_one_without_a_checkpoint(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert main(["status", folder_of(tmp_path / "a", steps=(40,)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]
    assert main(["status", folder_of(tmp_path / "b", steps=()), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == []


def test_a_run_that_ended_early_is_complete(tmp_path, capsys):
    folder = folder_of(tmp_path)
    strict_json.write({"step": 24}, tmp_path / FINISHED)
    assert main(["status", folder]) == 0
    assert "complete, 24/40" in capsys.readouterr().out


def test_a_damaged_record_is_refused(tmp_path, capsys):
    for text in ('{"identity": {}}', '{"identity": []}', '["another tool"]', '{"identity": {"tr'):
        (tmp_path / "run.json").write_text(text)
        assert main(["status", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "run.json" in said
        assert "another folder" in said
        assert "delete" not in said
