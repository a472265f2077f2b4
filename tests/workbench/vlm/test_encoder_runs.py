"""The law's table: a held-out loss against transformers alone, and lines that replace their own."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from feature_store import InputError
from workbench.vlm import encoder_runs
from workbench.vlm.config import VlmConfig
from workbench.vlm.fit import fit
from workbench.vlm.run import Run
from workbench.vlm.vision import StoredVision

ONE = "toy:a#b@8"


@pytest.fixture
def trained(planted, tiny, tmp_path):
    store, asked = planted("train", count=12)
    options = VlmConfig(llm=tiny, arithmetic="fp32", batch=4, epochs=2, learning_rate=0.02)
    fit(store, ONE, asked, options, seed=3, folder=tmp_path / "run", log=print)
    return tmp_path / "run", *planted("test", count=5, seed=9)


def test_a_held_out_loss_is_the_mean_over_the_tokens_of_the_answers(trained):
    folder, store, asked = trained
    model, writer = Run.open(folder).model("cpu", print)
    vision = StoredVision(store, ONE)
    losses = []
    for row, question in enumerate(asked):
        text = writer.conversation([question])
        embedded = model.embeddings(vision([row]), torch.from_numpy(text.ids)[None])
        scores = model.causal(inputs_embeds=embedded).logits[0, :-1]
        labels = torch.from_numpy(text.labels)[1:]
        losses += cross_entropy(scores[labels >= 0], labels[labels >= 0], reduction="none").tolist()
    found = encoder_runs.held_out_loss(model, writer, vision, asked, 2048)
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    with pytest.raises(InputError, match="at most 20"):
        encoder_runs.held_out_loss(model, writer, vision, asked, 20)


def test_a_line_names_what_was_trained(trained, monkeypatch):
    folder, store, asked = trained
    monkeypatch.setattr(encoder_runs, "cost", lambda *a, **k: type("", (), {"params": 7}))
    found = encoder_runs.line(folder, store, asked, "cpu", print)
    assert found["image_text_pairs"] == 24, "two passes over twelve"
    assert (found["vit_params"], found["image_tokens"], found["seed"]) == (7, 4, 3)
    assert (found["source"], found["dataset"]) == (ONE, store.dataset)
    assert found["llm_params"] > 1000
    run = Run.open(folder)
    run.identity["vlm"]["stage"] = "lora"
    monkeypatch.setattr(encoder_runs.Run, "open", lambda folder: run)
    with pytest.raises(InputError, match="--stage lora"):
        encoder_runs.line(folder, store, asked, "cpu", print)


def test_a_repeated_run_replaces_its_line(tmp_path):
    path = tmp_path / "runs.csv"
    line = {"llm": "a", "dataset": "d", "source": "s", "seed": 0, "vit_params": 5}
    for pairs, loss in ((10, 2.0), (20, 1.5), (10, 2.5)):
        encoder_runs.add({**line, "image_text_pairs": pairs, "eval_loss": loss}, path)
    table = pd.read_csv(path)
    assert table[["image_text_pairs", "eval_loss"]].to_numpy().tolist() == [[20, 1.5], [10, 2.5]]
    path.write_text("other\n1\n")
    with pytest.raises(InputError, match="lacks llm"):
        encoder_runs.add({**line, "image_text_pairs": 1, "eval_loss": 1.0}, path)
