"""A run of pre-training is complete when its weights are there."""

from __future__ import annotations

import pytest

from workbench.results import strict_json
from workbench.training.files import FINISHED
from workbench.training.status import status, text


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_that_was_killed_before_its_weights_were_written(finished, tmp_path):
    record = {
        "identity": {"training": {"iterations": 4}, "objective": "supervised"}, "environment": {},
    }  # fmt: skip
    strict_json.write(record, tmp_path / "run.json")
    (tmp_path / "step_0000000004.0123456789abcdef.pt").write_bytes(b"")
    if finished:
        strict_json.write({"step": 4}, tmp_path / FINISHED)
    found = status(tmp_path)
    assert (found["steps_done"], found["complete"]) == (4, False)
    assert "INCOMPLETE, 4/4" in text(found)
    assert "repeat its command to write its weights" in text(found)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    assert status(tmp_path)["complete"]
    assert "repeat" not in text(status(tmp_path))
