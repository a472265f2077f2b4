"""The law's table: a held-out loss against transformers alone, and lines that replace their own."""

from __future__ import annotations

from dataclasses import replace

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
    assert tuple(found) == encoder_runs.COLUMNS
    assert found["llm_params"] > 1000
    run = Run.open(folder)
    monkeypatch.setattr(encoder_runs.Run, "open", lambda folder: run)
    for option, value, message in (("blind", True, "--blind"), ("stage", "lora", "is lora")):
        run.identity["vlm"][option] = value
        with pytest.raises(InputError, match=message):
            encoder_runs.line(folder, store, asked, "cpu", print)


def test_runs_differ_by_their_options_and_not_by_the_program():
    base = {"vlm": {"blind": False, "projector": "linear", "learning_rate": 1e-3, "epochs": 1.0},
            "source": "s", "seed": 0, "code": "x"}  # fmt: skip
    others = [{**base, "vlm": base["vlm"] | {name: value}} for name, value in
              (("blind", True), ("projector", "mlp2x_gelu"), ("learning_rate", 1e-2),
               ("epochs", 2.0))]  # fmt: skip
    hashes = {encoder_runs.run_hash(one) for one in (base, *others, {**base, "seed": 1})}
    assert len(hashes) == 6
    assert encoder_runs.run_hash({**base, "code": "y"}) == encoder_runs.run_hash(base)


def test_what_a_table_would_refuse_is_refused_before_the_training(trained, tmp_path):
    _, store, asked = trained
    table = tmp_path / "runs.csv"
    encoder_runs.check(table, store, ONE, store, asked)
    table.write_text("llm\na\n")
    for path, message in ((tmp_path, "is a folder"), (table, "lacks dataset")):
        with pytest.raises(InputError, match=message):
            encoder_runs.check(path, store, ONE, store, asked)
    table.unlink()
    with pytest.raises(InputError, match=r"no\.jpg"):
        encoder_runs.check(table, store, ONE, store, [replace(asked[0], image="no.jpg")])


def test_a_repeated_run_replaces_its_line(tmp_path):
    path = tmp_path / "runs.csv"
    line = {"llm": "a", "dataset": "d", "source": "s", "seed": 0, "vit_params": 5}
    for pairs, loss in ((10, 2.0), (20, 1.5), (10, 2.5)):
        one = {**line, "image_text_pairs": pairs, "eval_loss": loss, "run": f"sha256:{pairs}"}
        encoder_runs.add(one, path)
    table = pd.read_csv(path)
    assert table[["image_text_pairs", "eval_loss"]].to_numpy().tolist() == [[20, 1.5], [10, 2.5]]
    path.write_text("other\n1\n")
    with pytest.raises(InputError, match="lacks llm"):
        encoder_runs.add({**line, "image_text_pairs": 1, "eval_loss": 1.0}, path)
