"""Every part of the GPU script with tiny sizes on the CPU, so that a GPU does not run it first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "benchmarks" / "gpu.sh"
PARTS = [
    *("extraction", "table2", "decode", "training", "moments", "probe", "sets", "table13"),
    *("out_of_memory", "faiss", "compiled"),
]


def run(out, *arguments):
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(
        ["bash", SCRIPT, "--out", out, *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_every_part_runs_and_what_is_there_is_kept(tmp_path):
    done = run(tmp_path, "--tiny")
    assert done.returncode == 0, done.stderr[-2000:]
    found = {part: json.loads((tmp_path / f"{part}.json").read_text()) for part in PARTS}
    assert len(list(tmp_path.iterdir())) == len(PARTS)
    assert [part for part in PARTS if "skipped" in found[part]] == ["out_of_memory", "compiled"]
    assert found["moments"]["largest_error_of_largest"] < 1e-6
    assert abs(found["probe"]["loss_minus_cpu"]) < 1e-6
    assert found["probe"]["neighbours_as_on_cpu"] == found["faiss"]["neighbours_as_exact"] == 1
    assert set(found["training"]) >= {"bare", "1x", "1x+2x"}
    again = run(tmp_path, "--tiny", "moments")
    assert again.returncode == 0
    assert "moments is there" in again.stdout


def test_no_gpu_is_said_in_a_line(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run(tmp_path, "moments")
    assert done.returncode == 1
    assert "gpu: no CUDA device on this machine; --tiny" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
