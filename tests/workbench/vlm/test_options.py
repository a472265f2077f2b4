"""Options that contradict each other or make no sense: one line, before any work."""

from __future__ import annotations

import pytest

from workbench.cli import main
from workbench.vlm.config import VlmConfig
from workbench.vlm.fit import fit
from workbench.vlm.run import Run

ONE = "toy:a#b@8"
ASKED = ["--store", "s.zarr", "--questions", "q.csv"]
TRAIN = ["vlm", "train", *ASKED, "--source", ONE, "--out", "run"]
EVAL = ["vlm", "eval", *ASKED, "--run", "run"]
SHOW = ["vlm", "show", *ASKED, "--answers", "S2=a.csv", "--out"]


def refused(capsys, arguments, message):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line, line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TRAIN, "--epochs", "nan"], "epochs is nan"),
        ([*TRAIN, "--epochs", "inf"], "epochs is inf"),
        ([*TRAIN, "--learning-rate", "nan"], "learning_rate is nan"),
        ([*TRAIN, "--projector-rate", "inf"], "projector_rate is inf"),
        ([*TRAIN, "--device", "meta"], "'meta'"),
        ([*TRAIN, "--device", "auto"], "'auto'"),
        ([*TRAIN, "--seed", "-1"], "seed is -1"),
        ([*TRAIN, "--limit", "-20"], "--limit is -20"),
        ([*TRAIN, "--init", "ridge", "--from", "before"], "--init ridge"),
        ([*EVAL, "--score", "letter", "--shuffle-choices", "--seed", "-1"], "seed is -1"),
        ([*EVAL, "--limit", "0"], "--limit is 0"),
        ([*EVAL, "--out", "."], "is a folder"),
        ([*SHOW, "figures", "--examples", "0"], "examples is 0"),
        ([*SHOW, "figures", "--examples", "-3"], "examples is -3"),
        ([*SHOW, "q.csv"], "q.csv is a file"),
        (["vlm", "answer", "--run", "run", "--image", "i.png", "--question", ""], "--question"),
    ],
)
def test_senseless_options_are_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.csv").write_text("image,question,answer\n0.jpg,?,!\n")
    refused(capsys, arguments, message)


def test_a_run_to_start_from_saw_its_images_and_is_told_to_be_unfinished(
    planted, tiny, tmp_path, capsys, monkeypatch
):
    store, asked = planted(count=8)
    rows = [f"{one.image},{one.question},{one.answer}" for one in asked]
    (tmp_path / "q.csv").write_text("\n".join(["image,question,answer", *rows]))
    blind = VlmConfig(llm=tiny, blind=True)
    fit(store, ONE, asked, blind, seed=0, folder=tmp_path / "blind", log=print)
    again = ["vlm", "train", "--store", store.path, "--questions", str(tmp_path / "q.csv"),
             "--source", ONE, "--llm", tiny, "--from", str(tmp_path / "blind"),
             "--out", str(tmp_path / "run")]  # fmt: skip
    refused(capsys, again, "is a --blind run")
    monkeypatch.setattr(Run, "unfinished", "step 1 of 2")
    assert main([*again, "--blind"]) == 0
    assert "blind is not finished (step 1 of 2)" in capsys.readouterr().err


def test_an_evaluation_is_refused_before_its_language_model_is_loaded(
    planted, tiny, tmp_path, capsys, monkeypatch
):
    store, asked = planted(count=8)
    fit(store, ONE, asked, VlmConfig(llm=tiny), seed=0, folder=tmp_path / "run", log=print)
    other, _ = planted("other", tap="c")
    for name, image in (("q", asked[0].image), ("lost", "lost.png")):
        (tmp_path / f"{name}.csv").write_text(f"image,question,answer\n{image},?,!\n")
    monkeypatch.setattr(Run, "model", lambda *given: pytest.fail("loaded"))
    there, questions = store.path, str(tmp_path / "q.csv")
    for place, named, more, message in (
        ("typo.zarr", questions, [], "typo.zarr"),
        ("folder:typo", questions, [], "typo"),
        (other.path, questions, [], ONE),
        (there, str(tmp_path / "lost.csv"), [], "lost.png"),
        (there, questions, ["--score", "likelihood"], "--score exact"),
        (there, questions, ["--score", "vqa"], "--score exact"),
        (there, questions, ["--against", questions], "q.csv.json"),
    ):
        evaluate = ["vlm", "eval", "--run", str(tmp_path / "run"), "--store", place]
        refused(capsys, [*evaluate, "--questions", named, *more], message)
