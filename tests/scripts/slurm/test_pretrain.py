"""The job of a pre-training: its signal reaches the training, which then is queued again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/slurm/pretrain.sbatch"
TORCHRUN = """#!/usr/bin/env bash
echo "$*" > "$CALLS/torchrun"
worker() {
    trap 'echo stopped > "$CALLS/worker"; exit 1' USR1
    touch "$CALLS/begun"
    while :; do sleep 0.1; done
}
worker &
if [ -n "$FINISHES" ]; then sleep 0.5; kill $!; exit 0; fi
wait $!
"""
"""In place of torchrun: one process, which ends with 1 once it is asked to stop."""


@pytest.mark.parametrize("finishes", [False, True])
def test_a_job_is_queued_again_unless_it_has_finished(finishes, tmp_path):
    (tmp_path / "bin").mkdir()
    for name, text in (
        ("torchrun", TORCHRUN), ("scontrol", '#!/bin/sh\necho "$*" > "$CALLS/scontrol"\n'),
    ):  # fmt: skip
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CALLS": str(tmp_path), "SLURM_JOB_ID": "7",
        "SLURM_GPUS_ON_NODE": "2", "FINISHES": "yes" if finishes else "",
    }  # fmt: skip
    job = subprocess.Popen(["bash", SCRIPT, "--out", "a b"], env=os.environ | environment)
    try:
        for _ in range(200):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.05)
        if not finishes:
            time.sleep(0.2)
            job.send_signal(signal.SIGUSR1)
        assert job.wait(timeout=30) == 0
    finally:
        job.kill()
    assert (
        "--nproc-per-node 2 --module workbench.cli pretrain --out a b"
        in (tmp_path / "torchrun").read_text()
    )
    assert (tmp_path / "worker").exists() != finishes
    assert (tmp_path / "scontrol").exists() != finishes
    if not finishes:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"
