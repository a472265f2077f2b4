"""What tokens tell is learnt, shuffled ones teach nothing, a killed run ends with the same bits."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch

from feature_store import InputError
from workbench.cli import main
from workbench.results import strict_json
from workbench.training import checkpoints
from workbench.training.files import FINISHED
from workbench.training.run_folder import held
from workbench.vlm.config import VlmConfig
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.fit import SOLVED, fit
from workbench.vlm.projector import Projector
from workbench.vlm.questions import Question
from workbench.vlm.ridge_start import BATCH, solve_last_layer
from workbench.vlm.run import Run
from workbench.vlm.vision import StoredVision

COLOURS = ("red", "green", "blue", "grey")
ONE, TWO = "toy:a#b@8", "toy:a#b@8+16"


def config(tiny, **more):
    plain = {"llm": tiny, "arithmetic": "fp32", "batch": 8, "learning_rate": 0.02}
    return VlmConfig(**{**plain, **more})


def trained(planted, options, folder, source=ONE, scales=1, questions=None, **more):
    store, asked = planted(folder.name, scales=scales)
    found = fit(
        store, source, questions or asked, options, seed=0, folder=folder, log=print, **more
    )
    return found, store, asked


def accuracy(folder, store, questions, score="likelihood"):
    run = Run.open(folder)
    model, writer = run.model("cpu", lambda line: None)
    return evaluate(run, model, writer, store, questions, EvaluationConfig(score=score))[0]


def test_a_projector_alone_learns_a_planted_answer_and_no_shuffled_one(planted, loud, tmp_path):
    """A blind run sees shuffled images in training and evaluation: it is right by chance.

    Chance is 1/4, its deviation over 100 questions 0.043: three of them on either side.
    """
    letters = dict(zip(COLOURS, "rgby", strict=True))

    def brief(questions):
        return [
            replace(one, question="?", answer=letters[one.answer], choices=tuple("rgby"))
            for one in questions
        ]

    (train, asked), (test, about) = planted("train", count=64), planted("test", count=100, seed=9)
    found = []
    for blind in (False, True):
        learning = config(loud, batch=16, epochs=6, learning_rate=0.1, blind=blind)
        folder = tmp_path / f"blind-{blind}"
        fit(train, ONE, brief(asked), learning, seed=0, folder=folder, log=print)
        found.append(accuracy(folder, test, brief(about))["accuracy"])
    assert found[0] > 0.95
    assert 0.12 < found[1] < 0.38


def test_a_whole_language_model_learns_a_planted_answer(planted, tiny, tmp_path):
    store, asked = planted("test", count=40, seed=9)
    learning = {"stage": "full", "epochs": 25, "learning_rate": 0.01, "projector_rate": 0.02}
    trained(planted, config(tiny, **learning), tmp_path / "own")
    found = accuracy(tmp_path / "own", store, asked)
    assert found["accuracy"] == 1
    assert found["low"] > 0.9


def test_adapters_start_from_a_projector(planted, tiny, tmp_path):
    first, *_ = trained(planted, config(tiny, epochs=10), tmp_path / "first")
    lora = config(tiny, stage="lora", epochs=0.1, learning_rate=1e-9, projector_rate=1e-9, rank=2)
    second, *_ = trained(planted, lora, tmp_path / "second", start=tmp_path / "first")
    assert second.parameters > first.parameters
    weights = [found.model.projector.last.weight for found in (first, second)]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=0)
    assert second.loss == pytest.approx(first.loss, abs=0.5)


def test_the_solved_start_is_near_the_words(planted, tiny, tmp_path):
    """Four one-hot colours are a linear map to the embeddings of four answers: R^2 is near 1."""
    slow = {"epochs": 0.1, "learning_rate": 1e-9}
    solved, *_ = trained(planted, config(tiny, init="ridge", **slow), tmp_path / "solved")
    random, *_ = trained(planted, config(tiny, **slow), tmp_path / "random")
    assert solved.r2 > 0.95
    assert random.r2 is None
    deep = config(tiny, init="ridge", projector="mlp2x_gelu", **slow)
    assert trained(planted, deep, tmp_path / "deep")[0].r2 > 0.9


CHILD = """
import json, sys, time
import feature_store
from workbench.vlm import fit as module
from workbench.vlm.config import VlmConfig
from workbench.vlm.questions import Question

store, folder, options, asked = json.loads(sys.argv[1])
questions = [Question(**(q | {{"choices": tuple(q["choices"])}})) for q in asked]
slow = module.Conversations.batch
def batch(self, step, size, seed):
    print(step, flush=True)
    time.sleep(0.3 if step > 4 else 0)
    return slow(self, step, size, seed)
module.Conversations.batch = batch
module.fit(feature_store.open(store), "{source}", questions, VlmConfig(**options), seed=0,
           folder=__import__("pathlib").Path(folder), log=print, checkpoint_every=2)
"""


def test_a_killed_run_ends_with_the_same_bits(planted, tiny, tmp_path):
    options = {"llm": tiny, "stage": "lora", "rank": 2, "batch": 8, "epochs": 3}
    whole, store, asked = trained(planted, VlmConfig(**options), tmp_path / "whole",
                                  checkpoint_every=2)  # fmt: skip
    told = json.dumps([store.path, str(tmp_path / "killed"), options, [vars(q) for q in asked]])
    command = [sys.executable, "-c", CHILD.format(source=ONE), told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if line.strip() == "6":
                child.send_signal(signal.SIGKILL)
    assert checkpoints.existing(tmp_path / "killed")
    assert Run.open(tmp_path / "killed").unfinished
    again = fit(store, ONE, asked, VlmConfig(**options), seed=0, folder=tmp_path / "killed",
                log=print, checkpoint_every=2)  # fmt: skip
    assert again.outcome.finished
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    metrics = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_versions_of_the_language_model_s_libraries_are_recorded(planted, tiny, tmp_path):
    lines, folder = [], tmp_path / "run"
    _, store, asked = trained(planted, config(tiny), folder, checkpoint_every=1)
    told = strict_json.read(folder / "run.json")
    for name in ("transformers", "peft", "tokenizers"):
        assert told["environment"][name] == version(name)
        told["environment"][name] = f"old-{name}"
    strict_json.write(told, folder / "run.json")
    checkpoints.existing(folder)[0].unlink()
    (folder / FINISHED).unlink()
    fit(store, ONE, asked, config(tiny), seed=0, folder=folder, log=lines.append,
        checkpoint_every=1)  # fmt: skip
    for name in ("transformers", "peft", "tokenizers"):
        assert sum(f"old-{name} and is {version(name)}" in line for line in lines) == 1


def test_a_projector_of_other_scales_is_refused_with_both_sources(planted, tiny, tmp_path):
    trained(planted, config(tiny, epochs=0.1), tmp_path / "one")
    with pytest.raises(InputError, match=r"b@8 \(6 channels\).*b@8\+16 \(12 .*--source toy:a#b@8,"):
        trained(planted, config(tiny), tmp_path / "more", TWO, 2, start=tmp_path / "one")
    options = config(tiny, epochs=0.1)
    trained(planted, options, tmp_path / "two", TWO, 2)
    for tap, scales in (("b", "16+8"), ("c", "8+16")):  # as wide
        store, asked = planted(f"test-{tap}", scales=2, tap=tap)
        other = f"toy:a#{tap}@{scales}"
        with pytest.raises(InputError, match=rf"{re.escape(TWO)} .*{re.escape(other)} ") as refused:
            fit(store, other, asked, options, seed=0, folder=tmp_path / "x", log=print,
                start=tmp_path / "two")  # fmt: skip
        assert "{" not in str(refused.value)


def test_other_images_features_or_words_are_refused(planted, make_store, tiny, tmp_path):
    _, store, asked = trained(planted, config(tiny, epochs=0.1), tmp_path / "run")
    lost = [replace(asked[0], image="nowhere.jpg")]
    with pytest.raises(InputError, match=r"not in .*nowhere\.jpg"):
        accuracy(tmp_path / "run", store, lost)
    with pytest.raises(InputError, match="question 1 has .*--score exact"):
        accuracy(tmp_path / "run", store, [replace(asked[0], choices=())])
    with pytest.raises(InputError, match="at most 2032"):
        accuracy(tmp_path / "run", store, [replace(asked[0], question="a" * 3000)], "exact")
    run = Run.open(tmp_path / "run")
    run.identity["language"]["tokenizer"] = "0" * 64
    with pytest.raises(InputError, match=r"language\.tokenizer was 0000"):
        run.model("cpu", print)
    for field, value in (("tap", "another"), ("transform", {"mode": "another", "fill": 0})):
        run = Run.open(tmp_path / "run")
        run.identity["vision"][ONE][field] = value
        model, writer = Run.open(tmp_path / "run").model("cpu", print)
        with pytest.raises(InputError, match=rf"features\.{field}(\.mode)? was another"):
            evaluate(run, model, writer, store, asked, EvaluationConfig())
    tokens = np.zeros((2, 2, 2, 6), np.float32)
    tokens[0] = np.nan
    failed = make_store("failed", {ONE: tokens}, failed={0: "damaged"})
    broken = [Question(image=str(failed.image_ids[0]), question="?", answer="!")]
    with pytest.raises(InputError, match="1 of the questions' images could not be read"):
        fit(failed, ONE, broken, config(tiny), seed=0, folder=tmp_path / "no", log=print)


def test_another_run_or_another_kind_of_run_is_refused(planted, tiny, tmp_path):
    _, store, asked = trained(planted, config(tiny, epochs=0.1), tmp_path / "run")
    other = config(tiny, epochs=0.1, turns=2)
    with pytest.raises(InputError, match=r"vlm\.turns was 16 there and is 2"):
        fit(store, ONE, asked, other, seed=0, folder=tmp_path / "run", log=print)
    with pytest.raises(InputError, match="holds no run"):
        Run.open(tmp_path)
    with pytest.raises(InputError, match="no language model 'smollm'"):
        trained(planted, VlmConfig(llm="smollm"), tmp_path / "other")


def test_the_checkpoint_that_was_loaded_is_recorded_and_none_is_removed(planted, tiny, tmp_path):
    """Also the model that answers is that of the latest undamaged checkpoint."""
    options = config(tiny, epochs=2)
    _, store, asked = trained(planted, options, tmp_path / "first", checkpoint_every=3)
    damaged, sound = checkpoints.existing(tmp_path / "first")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    weights = torch.load(sound)["model"]["projector.last.weight"]
    still = config(tiny, epochs=0.1, learning_rate=1e-12)
    found = fit(
        store, ONE, asked, still, seed=0, folder=tmp_path / "next", log=print,
        start=tmp_path / "first",
    )  # fmt: skip
    torch.testing.assert_close(found.model.projector.last.weight.detach(), weights)
    assert strict_json.read(tmp_path / "next" / "run.json")["identity"]["start"] == sound.name
    run = Run.open(tmp_path / "first")
    assert torch.equal(run.model("cpu", print)[0].projector.last.weight, weights)
    assert run.checkpoint == sound
    assert checkpoints.existing(tmp_path / "first") == [damaged, sound]
    sound.write_bytes(b"")
    with pytest.raises(InputError, match=r"every checkpoint of .*first is damaged; train again"):
        Run.open(tmp_path / "first").weights()


@pytest.mark.parametrize(
    ("identity", "message"),
    [({"sight": None}, "another kind, not of workbench vlm train"), ({"vlm": {}}, "no checkpoint")],
)
def test_a_folder_that_is_no_trained_model_is_refused(tmp_path, identity, message):
    record = {"identity": identity | {"training": {"iterations": 1}}}
    strict_json.write(record, tmp_path / "run.json")
    with pytest.raises(InputError, match=f"{tmp_path} h.*{message}"):
        Run.open(tmp_path)


def test_what_needs_no_language_model_is_refused_before_it_is_loaded(planted, tiny, tmp_path):
    store, asked = planted("train", scales=2)
    options = config(tiny, epochs=0.1)
    where = {"seed": 0, "log": print}
    fit(store, ONE, asked, options, folder=tmp_path / "first", **where)
    absent = replace(options, llm="none")
    of_another_kind = {"identity": {"sight": None, "training": {"iterations": 1}}}
    strict_json.write(of_another_kind, tmp_path / "other" / "run.json")
    for source, changed, message, folders in (
        (TWO, absent, "--source toy:a#b@8,", {"start": tmp_path / "first"}),
        (ONE, replace(absent, projector="mlp2x_gelu"), "is linear, .* mlp2x_gelu; .* linear",
         {"start": tmp_path / "first"}),
        (ONE, replace(absent, turns=2), r"vlm\.turns was 16 there and is 2",
         {"folder": tmp_path / "first"}),
        (ONE, absent, "another kind", {"folder": tmp_path / "other"}),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            fit(store, source, asked, changed, **{"folder": tmp_path / "new"} | where | folders)
    assert not (tmp_path / "new").exists()
    record = tmp_path / "first" / "run.json"
    told = json.loads(record.read_text())
    told["identity"]["language"]["tokenizer"] = "0" * 64
    record.write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"--from .*first: language\.tokenizer was 0000"):
        fit(store, ONE, asked, options, folder=tmp_path / "new", start=tmp_path / "first", **where)


def test_the_start_is_solved_only_for_the_run_of_the_folder(planted, tiny, tmp_path, capsys):
    """Neither another run's R^2 is replaced, nor that of a run in progress."""
    solved = config(tiny, epochs=0.1, init="ridge")
    _, store, asked = trained(planted, solved, tmp_path / "run", progress=True)
    assert "solve: 100%" in capsys.readouterr().err
    for path in checkpoints.existing(tmp_path / "run"):
        path.unlink()
    strict_json.write({"r2": 0.5}, tmp_path / "run" / SOLVED)
    again = {"seed": 0, "folder": tmp_path / "run", "log": print}
    with pytest.raises(InputError, match="training.checkpoint_every was 200 there and is 7"):
        fit(store, ONE, asked, solved, checkpoint_every=7, **again)
    hold = "import sys; from pathlib import Path; from workbench.training.run_folder import held\n"
    hold += "with held(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "run")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with child:
        child.stdout.readline()
        with pytest.raises(InputError, match="another process trains"):
            fit(store, ONE, asked, solved, **again)
        child.stdin.close()
    assert strict_json.read(tmp_path / "run" / SOLVED) == {"r2": 0.5}
    with held(tmp_path / "run"):  # by the same process
        assert fit(store, ONE, asked, solved, **again).r2 > 0.9


def test_a_start_that_is_asked_to_stop_ends_after_its_images(planted):
    store, _ = planted(count=40)
    read, seen, lines = StoredVision(store, ONE), [], []

    def vision(rows):
        if not seen:
            os.kill(os.getpid(), signal.SIGUSR1)
        seen.extend(rows)
        return read(rows)

    words = {row: [0] for row in range(40)}
    with pytest.raises(KeyboardInterrupt):
        solve_last_layer(Projector("linear", 6, 4), vision, words, torch.eye(4), log=lines.append)
    assert len(seen) == BATCH
    assert "after these images" in lines[0]


def test_a_start_from_few_images_and_a_file_in_the_place_of_a_run_are_refused(tmp_path, capsys):
    words = {row: [0] for row in range(9)}
    with pytest.raises(InputError, match="at least 10 images, found 9"):
        solve_last_layer(Projector("linear", 6, 4), None, words, torch.eye(4), log=print)
    path = tmp_path / "file"
    path.touch()
    train = ["vlm", "train", "--store", "no.zarr", "--source", ONE, "--questions", "no.csv"]
    assert main([*train, "--init", "ridge", "--out", str(path)]) == 2
    assert f"--out is {path}" in " ".join(capsys.readouterr().err.split())


def test_a_chat_template_that_is_not_used_is_noted(planted, tiny, spelling, tmp_path):
    folder = shutil.copytree(tiny.removeprefix("hf:"), tmp_path / "own")
    tokenizer = spelling("<s>", "</s>", bos_token="<s>", eos_token="</s>")
    for own, noted in (("{{ messages }}", True), (None, False)):
        tokenizer.chat_template = own
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        tokenizer.save_pretrained(folder)
        lines = []
        store, asked = planted(f"noted-{noted}")
        fit(store, ONE, asked, config(f"hf:{folder}", epochs=0.1), seed=0,
            folder=tmp_path / f"run-{noted}", log=lines.append)  # fmt: skip
        assert any("vicuna_v1" in line for line in lines) is noted
