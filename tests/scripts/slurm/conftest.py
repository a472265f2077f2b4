"""Jobs run by bash, with something else in place of torchrun and scontrol."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[3] / "scripts/slurm"
TORCHRUN = """#!/usr/bin/env bash
echo "$*" >> "$CALLS/torchrun"
worker() {
    trap 'echo stopped > "$CALLS/worker"; exit "$ENDS_WITH"' USR1
    touch "$CALLS/begun"
    while :; do sleep 0.1; done
}
worker &
if [ -n "$FINISHES" ]; then sleep 0.5; kill $!; exit 0; fi
wait $!
"""
"""One process, which ends with $ENDS_WITH once it is asked to stop."""
SCONTROL = '#!/bin/sh\necho "$*" >> "$CALLS/scontrol"\n'


@pytest.fixture
def job(tmp_path):
    """Run a job, which finishes or is asked to stop while it trains.

    Returns the calls of torchrun and of scontrol, and whether the signal has reached the training.
    """

    def run(script, *arguments, finishes, ends_with=1):
        (tmp_path / "bin").mkdir()
        for name, text in (("torchrun", TORCHRUN), ("scontrol", SCONTROL)):
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)
        environment = os.environ | {
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CALLS": str(tmp_path),
            "SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "2", "FINISHES": "yes" if finishes else "",
            "ENDS_WITH": str(ends_with),
        }  # fmt: skip
        process = subprocess.Popen(["bash", JOBS / script, *arguments], env=environment)
        try:
            for _ in range(200):
                if (tmp_path / "begun").exists():
                    break
                time.sleep(0.05)
            if not finishes:
                time.sleep(0.2)
                process.send_signal(signal.SIGUSR1)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
        calls = [
            path.read_text().splitlines() if path.exists() else []
            for path in (tmp_path / "torchrun", tmp_path / "scontrol")
        ]
        return *calls, (tmp_path / "worker").exists()

    return run
