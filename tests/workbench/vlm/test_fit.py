"""What tokens tell is learnt, shuffled ones teach nothing, a killed run ends with the same bits."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from feature_store import InputError
from workbench.training import checkpoints
from workbench.vlm.config import VlmConfig
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.fit import fit
from workbench.vlm.questions import Question
from workbench.vlm.run import Run

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


@pytest.fixture
def loud(tiny, tmp_path):
    """The small language model with larger weights: what it says depends on what it is shown."""
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(tiny.removeprefix("hf:"), tmp_path / "loud")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    return f"hf:{folder}"


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
    with pytest.raises(InputError, match="question 1 has none"):
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
