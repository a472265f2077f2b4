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


def test_values_are_short_and_those_that_an_objective_lacks_are_left_out(tmp_path):
    record = {"identity": {"training": {"iterations": 160000}}, "environment": {}}
    strict_json.write(record, tmp_path / "run.json")
    (tmp_path / "metrics.csv").write_text("step,loss,images\n120000,1.00894331,256.0\n")
    (tmp_path / "evaluation.csv").write_text("step,val_loss,knn_accuracy\n120000,nan,0.438\n")
    lines = text(status(tmp_path)).splitlines()
    assert "metrics: step 120000, loss 1.009, images 256" in lines
    assert "evaluation: step 120000, knn_accuracy 0.438" in lines
