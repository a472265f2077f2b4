"""Checkpoints and tables that the system refuses to write."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from workbench.training import checkpoints
from workbench.training.run_folder import Metrics

FULL = """
import resource, signal, sys, torch
from pathlib import Path
from workbench.training import checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
checkpoints.save({"step": 1, "weights": torch.ones(10)}, Path(sys.argv[1]), keep=1)
try:
    checkpoints.save({"step": 2, "weights": torch.ones(1 << 20)}, Path(sys.argv[1]), keep=1)
except OSError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_is_told_with_a_remedy(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert f"cannot write a checkpoint in {tmp_path}" in done.stdout, done.stderr
    assert "last whole checkpoint: step 1;" in done.stdout
    assert "free some space and repeat" in done.stdout
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("step_0000000001")


def test_a_row_that_does_not_fit_on_the_disk_is_told_with_the_remedy(tmp_path):
    """Also where the table is closed after it, which tries to write the row again."""
    for step in (1, 2):
        checkpoints.save({"step": step, "weights": torch.ones(2)}, tmp_path, keep=2)
    table = Metrics(tmp_path, "metrics.csv", 0)
    table.close()
    table._file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115
    for write in (lambda: table.add({"step": 3}), table.close):
        with pytest.raises(OSError, match="metrics.csv") as found:
            write()
        message = str(found.value)
        words = (
            str(tmp_path),
            "No space left",
            "last whole checkpoint: step 2;",
            "step_0000000001",
            "repeat",
        )
        assert all(word in message for word in words), message


def test_a_row_that_was_cut_off_is_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss\n10,1.5\n2")  # of step 20
    table = Metrics(tmp_path, "metrics.csv", 10)
    table.add({"step": 20, "loss": 1.0})
    table.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n10,1.5\n20,1.0\n"


def test_a_damaged_checkpoint_is_passed_over_and_removed_only_to_resume(tmp_path):
    first, second = (
        checkpoints.save({"step": step, "weights": torch.ones(2)}, tmp_path, keep=2)
        for step in (1, 20)
    )
    assert [checkpoints.step(path) for path in checkpoints.existing(tmp_path)] == [20, 1]
    assert checkpoints.latest(tmp_path, pytest.fail) == second
    second.write_bytes(b"")
    lines = []
    assert checkpoints.latest(tmp_path, lines.append) == first
    assert str(second) in lines[0]
    assert second.exists()
    assert checkpoints.load(tmp_path, lines.append)["step"] == 1
    assert checkpoints.existing(tmp_path) == [first]
    first.write_bytes(b"")
    assert checkpoints.latest(tmp_path, lines.append) is None
