"""workbench probe: JSON on standard output, files in --out, misuse with status 2."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from analyses.reading.label_rule import rule_lines
from workbench.cli import main
from workbench.extraction import ExtractRequest, extract

SMALL, LARGE = "toy:a#blocks@224", "toy:a#blocks@448"


@pytest.fixture
def arguments(make_store):
    rng = np.random.default_rng(0)
    given = []
    for split, count in (("train", 40), ("test", 20)):
        labels = np.arange(count) % 2
        arrays = {
            s: (rng.normal(size=(count, 2, 2, 4)) + labels[:, None, None, None]).astype(np.float32)
            for s in (SMALL, LARGE)
        }
        store = make_store(split, arrays, labels=labels, label_names=["no", "yes"])
        given += [f"--{split}", store.path.removeprefix("file://")]
    return ["probe", *given, "--source", SMALL, "--source", "toy:a#blocks@224+448"]


def test_json_and_files(arguments, tmp_path, capsys):
    assert main([*arguments, "--json", "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    rows, (against,) = found["rows"], found["differences"]
    assert (against["source"], against["against"]) == ("toy:a#blocks@224+448", SMALL)
    gain = rows[1]["test_accuracy"] - rows[0]["test_accuracy"]
    assert against["difference"] == pytest.approx(gain)
    assert against["low"] <= gain <= against["high"]
    assert [row["source"] for row in rows] == [SMALL, "toy:a#blocks@224+448"]
    assert rows[0].keys() >= {"source", "train_loss", "test_accuracy", "low", "high"}
    assert all(row["low"] <= row["test_accuracy"] <= row["high"] for row in rows)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    tables = [f"probe_differences.{suffix}" for suffix in ("csv", "md", "tex")]
    assert names == [f"probe.{suffix}" for suffix in ("csv", "md", "png", "svg", "tex")] + tables
    assert main(arguments) == 0
    assert " against " in capsys.readouterr().out


def test_metric_is_drawn_against_cost_where_models_are_known(make_store, tmp_path, capsys):
    rng = np.random.default_rng(0)
    names = [f"timm:test_vit.r160_in1k#final@{scale}" for scale in (160, 320)]
    given = []
    for split, count in (("train", 40), ("test", 20)):
        labels = np.arange(count) % 2
        arrays = {s: rng.normal(size=(count, 1, 1, 4)) + labels[:, None, None, None] for s in names}
        store = make_store(split, arrays, labels=labels, label_names=["no", "yes"])
        given += [f"--{split}", store.path.removeprefix("file://")]
    ask = ["--source", names[0], "--source", "timm:test_vit.r160_in1k@160+320"]
    out = tmp_path / "out"
    assert main(["probe", *given, *ask, "--few-shot", "1", "5", "--out", str(out)]) == 0
    for figure in ("probe_curve", "few_shot"):
        assert "GMACs per image" in (out / f"{figure}.svg").read_text()
    assert "5 images per class" in (out / "few_shot.svg").read_text()
    assert "probe_curve.png" in capsys.readouterr().err


def test_depth_of_the_stereo_pair_through_whole_images(tmp_path, capsys):
    pytest.importorskip("skimage")
    model = "random:timm:test_vit.r160_in1k"
    given = []
    for split in ("train", "test"):
        path = str(tmp_path / f"{split}.zarr")
        scales = ["160", "320", "320.whole"]
        asked = {"models": [model], "scales": scales, "store": path, "limit": 12}
        extract(ExtractRequest(dataset=f"bundled:stereo:{split}", **asked))
        given += [f"--{split}", path]
    ask = ["--source", f"{model}@160", "--source", f"{model}@160+320.whole"]
    out = tmp_path / "out"
    few = ["--train-tokens", "600"]
    assert main(["probe", *given, *ask, *few, "--dense", "depth", "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    rows, (against,) = found["rows"], found["differences"]
    assert [row["tokens_per_image"] for row in rows] == [50, 50]
    assert against["low"] <= against["difference"] <= against["high"]
    assert [row["channels"] for row in rows] == [64, 128]
    assert all(0 < row["low"] <= row["rmse"] <= row["high"] < 5 for row in rows)  # metres
    for name in (
        "depth.md",
        "depth.csv",
        "depth.tex",
        "depth.png",
        "depth_curve.svg",
        "depth_differences.md",
        "depth_predictions.png",
    ):
        assert (out / name).stat().st_size > 100
    decoder = ["--dense", "depth", "--head", "vpd", "--hidden", "32", "--batch", "4"]
    asked = ["probe", *given, *ask[:2], *decoder, "--iterations", "3", "--json", "--out", str(out)]
    assert main(asked) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["head"], row["iterations"], row["tokens_per_image"]) == ("vpd", 3, 100)
    assert row["head_params"] > 1000
    assert 0 < row["low"] <= row["rmse"] <= row["high"]
    assert len(list(out.glob("*-vpd-seed0/step_*.pt"))) == 1
    assert main([*asked, "--ridge", "1"]) == 2
    assert "--ridge is for --head linear" in capsys.readouterr().err
    assert main([*asked, "--depth-unit", "mm", "--seed", "1"]) == 2
    assert "leave out --depth-unit mm" in capsys.readouterr().err
    assert main(["probe", *given, *ask, "--dense", "segmentation"]) == 2
    assert "has no masks" in capsys.readouterr().err
    assert main(["probe", *given, *ask, "--dense", "depth", "--pooling", "prefix"]) == 2
    assert "leave out --pooling prefix" in capsys.readouterr().err


def test_infinite_loss_is_null_in_json(arguments, make_store, capsys):
    rng = np.random.default_rng(1)
    test = make_store(
        "other",
        {SMALL: rng.normal(size=(6, 2, 2, 4))},
        labels=np.arange(6) % 2,
        label_names=["no", "perhaps"],
    )
    given = [*arguments[:4], test.path.removeprefix("file://"), "--source", SMALL, "--json"]
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["test_loss"] is None


def test_misuse(arguments, capsys):
    assert main([*arguments, "--source", "toy:a#blocks@672"]) == 2
    error = capsys.readouterr().err
    assert "toy:a#blocks@672" in error
    assert len(error.splitlines()) == 1
    assert main([*arguments, "--head", "dpt"]) == 2
    assert "--head dpt predicts maps; add --dense" in capsys.readouterr().err
    assert main([*arguments, "--iterations", "5"]) == 2
    assert "--head mask2former, upernet, vpd or dpt" in capsys.readouterr().err
    assert main([*arguments[:4], arguments[2], *arguments[5:]]) == 2
    assert "share 40 of 40 test images" in capsys.readouterr().err


def test_a_head_is_scored_on_other_test_sets_of_imagenet(tmp_path, capsys):
    """Red, green and blue classes; a test image may be red or green, and one has no label."""
    from PIL import Image

    from workbench.datasets.imagenet.classes import synsets

    def save(path, colour):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), colour).save(path)

    for number, level in itertools.product(range(3), (150, 180, 210, 240)):
        colour = [0, 0, 0]
        colour[number] = level
        save(tmp_path / f"train/{synsets()[number]}/{level}.png", tuple(colour))
        if level == 180:
            save(tmp_path / f"val/ILSVRC2012_val_{number + 1:08d}.JPEG", tuple(colour))
    (tmp_path / "real.json").write_text("[[0, 1], [0], []]")
    model = "random:timm:test_vit.r160_in1k"
    given = []
    for split, dataset in (("train", "folder:{}/train"), ("test", "imagenet:real:{}")):
        path = str(tmp_path / f"{split}.zarr")
        asked = {"models": [model], "scales": ["160"], "store": path}
        extract(ExtractRequest(dataset=dataset.format(tmp_path), **asked))
        given += [f"--{split}", path]
    asked = ["probe", *given, "--source", f"{model}@160", "--l2", "0.001", "--json"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert (row["test_accuracy"], row["test_images"], row["train_accuracy"]) == (0.5, 2, 1)
    rule = found["label_rule"]
    assert (rule["compared_classes"], rule["images_of_several_classes"]) == (3, 1)
    assert rule["images_left_out"] == 1
    assert "1 images with none were left out" in rule_lines(rule)[0]
    (tmp_path / "val").rename(tmp_path / "gone")
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["label_rule"]["images_left_out"] is None
