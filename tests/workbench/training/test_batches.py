"""Processes that decode: what ends them, and what then becomes of the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess

import pytest
import torch

from feature_store import InputError
from workbench.training import checkpoints
from workbench.training.batches import Batches
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.trained import Trained


class Numbers:
    """Images that are the numbers of their rows."""

    dataset, seed = range(8), 0

    def __getitem__(self, key):
        return key[2], 0


def trained(batches, during):
    """A model whose steps call a function, with their numbers, before the batch is taken."""
    weight = torch.nn.Parameter(torch.ones(1))

    def loss(batch):
        batches.ready(batch)
        return weight.sum(), {}

    return Trained(
        model=torch.nn.ParameterList([weight]), optimizer=torch.optim.SGD([weight]),
        read=batches.read, before=during, loss=loss,
    )  # fmt: skip


def test_a_signal_to_the_whole_group_ends_no_decoder_and_a_killed_one_is_told(tmp_path):
    batches, before = Batches(Numbers(), batch=2, workers=1), multiprocessing.active_children()

    def during(step):
        (worker,) = set(multiprocessing.active_children()) - set(before)
        if step == 1:
            subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)  # not by its parent
        if step == 10:
            os.kill(worker.pid, signal.SIGKILL)

    config = TrainingConfig(iterations=20, checkpoint_every=9)
    with pytest.raises(InputError, match="process was killed.*repeat the command.*--workers"):
        train(trained(batches, during), tmp_path, config, identity={}, seed=0, log=print)
    assert [checkpoints.step(path) for path in checkpoints.existing(tmp_path)] == [9]


def test_a_decoder_ends_with_its_parent():
    batches, before = Batches(Numbers(), batch=2, workers=1), multiprocessing.active_children()
    batches.read(1)
    (worker,) = set(multiprocessing.active_children()) - set(before)
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
