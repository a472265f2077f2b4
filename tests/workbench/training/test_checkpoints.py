"""Checkpoints that the system refuses to write."""

from __future__ import annotations

import subprocess
import sys

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
    assert "free some space and repeat" in done.stdout
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("step_0000000001")
