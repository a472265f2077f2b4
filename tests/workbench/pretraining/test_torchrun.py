"""Two processes under torchrun train as one, and stop as one."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from feature_store import InputError
from workbench.models.run_names import WEIGHTS, record_of
from workbench.pretraining.config import PretrainConfig, PretrainRecipe, check_batch
from workbench.training import checkpoints


def rows(folder, name):
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


def torchrun(words):
    """Two processes that train together."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*start, "--module", "workbench.cli", *words], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(words):
    """The object that two processes print at the end of their training."""
    training = torchrun(words)
    said, noise = training.communicate(timeout=300)
    assert training.returncode == 0, noise
    assert "Warning" not in noise
    return json.loads(said)


def test_two_processes_train_as_one(line, pretrain, tmp_path):
    """Each takes every second image; gradients are averaged, and one of them writes and prints.

    The model is evaluated after the last step alone, by the first process while the other waits. It
    has a pooling after the tap, whose weights get no gradient and do not decay.
    """
    options = {
        "model": "timm:test_vit3:32", "epochs": "1", "augment": "none", "ema": "0",
        "learning_rate": "1e-2", "checkpoint_every": "200",
    }  # fmt: skip
    assert finished(line(tmp_path / "two", **options))["steps"] == 3, "one object"
    pretrain(tmp_path / "one", **options)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    assert "attn_pool.kv.weight" in two
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-6, rtol=1e-4)
    losses = (
        [float(row["loss"]) for row in rows(tmp_path / n, "metrics.csv")] for n in ("one", "two")
    )
    assert next(losses) == pytest.approx(next(losses), rel=1e-5)
    assert json.loads((tmp_path / "two/run.json").read_text())["environment"]["processes"] == 2


def test_two_processes_distil(line, tmp_path):
    """In parts that are computed again, with a pooling that gets no gradient."""
    pytest.importorskip("lightly")
    words = line(
        tmp_path / "a", objective="dinov2", model="timm:test_vit3:64", prototypes="64", hidden="32",
        local_crops="2", local_pixels="0.5", augment="auto", epochs="0.6", parts="2", recompute="",
        val=None,
    )  # fmt: skip
    assert finished(words)["steps"] == 2
    state = checkpoints.load(tmp_path / "a", pytest.fail)
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())
    assert all(math.isfinite(float(row["loss"])) for row in rows(tmp_path / "a", "metrics.csv"))
    assert record_of(tmp_path / "a")["objective"] == "dinov2"


def test_processes_that_are_preempted_save_one_checkpoint_together(line, tmp_path):
    """USR1 reaches both, as ``scripts/slurm/pretrain.sbatch`` forwards it."""
    words = line(tmp_path / "a", epochs="1000", augment="none", val=None, checkpoint_every="10000")
    training = torchrun(words)
    table = tmp_path / "a" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (table.exists() and len(table.read_text().splitlines()) > 3):
        assert training.poll() is None, training.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGUSR1)
    _, said = training.communicate(timeout=120)
    assert training.returncode != 0
    assert said.count("workbench pretrain: stopped before the end") == 1, said
    (saved,) = checkpoints.existing(tmp_path / "a")
    assert int(saved.name[5:15]) == int(rows(tmp_path / "a", "metrics.csv")[-1]["step"])


@pytest.mark.parametrize(("batch", "parts", "words"), [(1, 1, "1 for 2 devices"), (6, 2, "of 4")])
def test_every_device_gets_a_part_of_a_batch(batch, parts, words):
    config = PretrainConfig(model="timm:test_vit:32", dataset="bundled:specks", batch=batch)
    with pytest.raises(InputError, match=words):
        check_batch(config, PretrainRecipe(parts=parts), 2)
