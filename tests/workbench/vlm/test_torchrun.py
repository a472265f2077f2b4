"""Two processes under torchrun train as one: the same weights, the same loss, one answer."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from feature_store import InputError
from workbench.cli import main
from workbench.training import checkpoints, ranks
from workbench.vlm.batches import Conversations, split
from workbench.vlm.config import VlmConfig, check_batch
from workbench.vlm.layout import Writer, conversations
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.vision import StoredVision

ONE = "toy:a#b@8"
START = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "--module", "workbench.cli"]  # fmt: skip


def uneven(planted):
    """A store, and answers of different lengths: each process's own mean would be wrong."""
    store, asked = planted()
    return store, [replace(one, answer=one.answer * (1 + k % 5)) for k, one in enumerate(asked)]


def state_and_metrics(folder):
    (path,) = checkpoints.existing(folder)
    with (folder / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    return torch.load(path, weights_only=True)["model"], row


@pytest.mark.slow
def test_two_processes_end_as_one(planted, tiny, tmp_path, capsys):
    """Adapters and a solved projector, in parts, so that gradients are averaged part by part."""
    store, asked = uneven(planted)
    rows = [f"{one.image},{one.question},{one.answer}" for one in asked]
    (tmp_path / "q.csv").write_text("\n".join(["image,question,answer", *rows]))
    words = ["vlm", "train", "--store", store.path, "--questions", str(tmp_path / "q.csv"),
             "--source", ONE, "--llm", tiny, "--stage", "lora", "--init", "ridge", "--batch", "8",
             "--together", "2", "--json", "--out"]  # fmt: skip
    two = subprocess.run(
        [*START, *words, str(tmp_path / "two")], capture_output=True, text=True, timeout=300
    )
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("projector solved") == 1, two.stderr
    assert main([*words, str(tmp_path / "one")]) == 0
    told = [json.loads(said) for said in (capsys.readouterr().out, two.stdout)]
    assert told[0]["steps"] == told[1]["steps"] == 3
    (state, row), (state_of_two, row_of_two) = (
        state_and_metrics(tmp_path / name) for name in ("one", "two")
    )
    assert state.keys() == state_of_two.keys()
    for name, value in state.items():
        torch.testing.assert_close(state_of_two[name], value, atol=1e-5, rtol=1e-4)
    assert float(row_of_two["loss"]) == pytest.approx(float(row["loss"]), rel=1e-5)
    assert row_of_two["tokens"] == row["tokens"]
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["environment"]["processes"] == 2


@pytest.mark.parametrize("together", [1, 2, 4])
def test_gradients_of_the_shares_average_to_that_of_the_step(
    together, planted, language, monkeypatch
):
    store, asked = uneven(planted)
    vision, writer = StoredVision(store, ONE), Writer(language.tokenizer, 4)
    groups = conversations(asked, writer, length=64, turns=1)
    data = Conversations(vision, writer, asked, groups, np.arange(len(asked)))
    model = VisionLanguageModel(language, VlmConfig(arithmetic="fp32").resolved(), 6)

    def gradient(parts):
        """Of the mean loss of the parts, as the training loop adds it up."""
        model.zero_grad()
        sum(model(part) / len(parts) for part in parts).backward()
        return model.projector.last.weight.grad.clone()

    whole = data.batch(1, 8, 0)
    expected = gradient(split(whole, 8))
    monkeypatch.setattr(ranks, "count", lambda: 2)
    shares, images = [], 0
    for rank in range(2):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        batch = data.batch(1, 8, 0)
        images += len(batch["tokens"])
        parts = split(batch, together)
        assert len(parts) == 4 // together
        shares.append(gradient(parts))
    assert images == 8, "each process reads its own images only"
    torch.testing.assert_close(sum(shares) / 2, expected)


@pytest.mark.parametrize(("batch", "processes"), [(1, 2), (8, 3)])
def test_every_process_gets_as_many_conversations(batch, processes):
    check_batch(VlmConfig(batch=6 * processes), processes)
    with pytest.raises(InputError, match=f"{batch} for {processes} .* multiple of {processes}"):
        check_batch(VlmConfig(batch=batch), processes)
