"""workbench extract: splits and views in one call, what it refuses and what it warns of."""

from __future__ import annotations

import json
import os
import shlex
import signal

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store.verify import verify
from workbench.cli import main
from workbench.commands.extract import view_store
from workbench.extraction.run import Extraction

MODEL = "random:timm:test_vit.r160_in1k"


@pytest.fixture
def command(tmp_path, monkeypatch):
    """An extraction of two folders with three images each, without dataset and store."""
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for k in range(3):
            pixels = np.random.default_rng(k).integers(0, 255, (170, 180, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / f"{split}{k}.png")
    monkeypatch.chdir(tmp_path)
    return ["extract", "--model", MODEL, "--scales", "1x", "--device", "cpu"]


SPLITS = ["--splits", "train", "test"]
BOTH = ["--dataset", "folder:{split}", "--store", "runs/{split}.zarr"]
ONE = ["--dataset", "folder:train", "--store", "s.zarr"]


def refusal(capsys, command):
    """The one line of a misuse; notes of what was found come before it."""
    capsys.readouterr()
    assert main(command) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_one_call_extracts_both_splits(command, capsys):
    assert main([*command, *BOTH, *SPLITS, "--views", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["splits"]
    assert [one["store"] for one in found] == ["runs/train.zarr", "runs/test.zarr"]
    assert [view["store"] for one in found for view in one["views"]] == [
        "runs/train.view1.zarr",
        "runs/test.view1.zarr",
    ]
    for split in ("train", "test"):
        store = feature_store.open(f"runs/{split}.zarr")
        assert store.dataset == f"folder:{split}"
        assert store.image_ids.tolist() == [f"{split}{k}.png" for k in range(3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BOTH, "'folder:{split}'"),
        ([*BOTH[:3], "runs/train.zarr", *SPLITS], "--store is 'runs/train.zarr'"),
        (["--dataset", "folder:train", *BOTH[2:], *SPLITS], "--dataset is 'folder:train'"),
        ([*BOTH, "--splits", "test", "test"], "test test"),
    ],
)
def test_splits_and_their_place_belong_together(command, tmp_path, capsys, options, message):
    assert main([*command, *options]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said
    assert "--splits" in said
    assert not (tmp_path / "runs").exists()


def test_scales_with_commas_are_refused_with_the_right_form(command, tmp_path, capsys):
    given = ["--dataset", "folder:train", "--store", "s.zarr", "--scales", "1x,2x,", "448"]
    assert main([*command, *given]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith(": 1x 2x 448")
    assert not (tmp_path / "s.zarr").exists()


def test_plain_pixels_below_the_native_size_are_warned_of(command, capsys):
    small = ["--scales", "96", "0.5x", "1x", "320"]
    assert main([*command, "--dataset", "folder:train", "--store", "s.zarr", *small]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "trained at" in line]
    assert len(said) == 1
    assert "160 pixels and runs at 96" in said[0]


def test_crops_of_few_photographs_are_warned_of(command, capsys):
    photos = ["--dataset", "bundled:photos:{split}", "--store", "{split}.zarr", *SPLITS]
    assert main([*command, *photos, "--scales", "1x", "2x", "--limit", "20"]) == 0
    assert capsys.readouterr().err.count("crops of 20 photographs") == 2
    stores = ["--train", "train.zarr", "--test", "test.zarr"]
    sources = ["--target", f"{MODEL}@2x", "--source", f"{MODEL}@1x"]
    assert main(["reconstruct", *stores, *sources, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "crops of 20 photographs" in err
    assert any("bundled:textiles" in line for line in json.loads(out)["warnings"])


def test_what_it_reports_is_what_status_tells(command, capsys):
    assert main([*command, *ONE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 3
    assert main(["status", "s.zarr", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["sources"]
    assert entry["complete"]
    assert entry["pretrained"] is False
    assert (entry["shards_done"], entry["shards_total"], entry["images"]) == (1, 1, 3)
    assert 0 < entry["float16_relative_rms"] < 1e-3
    assert main(["verify", "s.zarr"]) == 0


@pytest.mark.parametrize(
    "options",
    [["--tokens-per-image", "9"], ["--dtype", "float32"], ["--layout", "packed"],
     ["--arithmetic", "bf16"]],
)  # fmt: skip
def test_the_printed_command_finishes_the_source(command, tmp_path, options):
    path = tmp_path / "with space"
    assert main([*command, "--dataset", "folder:train", "--store", str(path), *options]) == 0
    next(path.glob("features/*/*/*/tokens/.commits/*.json")).unlink()
    (entry,) = feature_store.open(path).source_status()
    assert main(shlex.split(entry.finish)[1:]) == 0
    assert verify(feature_store.open(path)).problems == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model", "bundled:efficientnet_lite9"], ["bundled:efficientnet_lite0"]),
        (["--model", f"{MODEL}#final"], ["named twice"]),
        (["--dataset", "folder:nowhere"], ["nowhere"]),
        (["--dataset", "folder:empty"], ["no image"]),
        (["--scales", "300"], ["160", "320"]),
        (["--dtype", "int8"], ["float16"]),
        (["--layout", "zip"], ["packed"]),
        (["--tokens-per-image", "5000"], ["at most 100"]),
        (["--store", "notes"], ["not a feature store"]),
        (["--store", "notes/todo.txt/s"], ["--store"]),
    ],
)
def test_misuse_is_one_line_and_leaves_nothing(command, tmp_path, capsys, options, named):
    for name in ("empty", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    line = refusal(capsys, [*command, *ONE, *options])
    assert all(word in line for word in named)
    assert not (tmp_path / "s.zarr").exists()


def test_a_store_of_another_dataset_is_refused(command, capsys):
    assert main([*command, *ONE]) == 0
    line = refusal(capsys, [*command, "--dataset", "folder:test", "--store", "s.zarr"])
    assert "s.zarr" in line
    assert "another store" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_refused(command, tmp_path, capsys):
    (tmp_path / "shut").mkdir(mode=0o500)
    line = refusal(capsys, [*command, "--dataset", "folder:train", "--store", "shut/s"])
    assert "cannot write the store" in line


def test_an_unknown_arithmetic_is_refused_with_the_known_ones(command, capsys):
    with pytest.raises(SystemExit) as refused:
        main([*command, *ONE, "--arithmetic", "x"])
    assert refused.value.code == 2
    assert "bf16" in capsys.readouterr().err


def test_a_stop_during_the_last_shard_of_a_store_begins_no_view(
    command, tmp_path, capsys, monkeypatch
):
    compute = Extraction._compute

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(Extraction, "_compute", compute)
        return compute(*arguments)

    monkeypatch.setattr(Extraction, "_compute", interrupted)
    command = [*command, *ONE, "--views", "2"]
    assert main(command) == 1
    assert "2 split(s) or view(s) not begun" in capsys.readouterr().err
    assert not (tmp_path / "s.view1.zarr").exists()
    assert main(command) == 0
    assert (tmp_path / "s.view2.zarr").exists()


def test_views_go_beside_the_store_with_the_same_ids_and_can_be_memorised(command, capsys):
    assert main([*command, *ONE, "--views", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [v["computed"] for v in report["views"]] == [3, 3]
    stores = [feature_store.open(f"s{k}.zarr") for k in ("", ".view1", ".view2")]
    assert [s.dataset for s in stores] == [
        "folder:train",
        "view:1:folder:train",
        "view:2:folder:train",
    ]
    values = [s.features(f"{MODEL}@160").values for s in stores]
    assert all(np.array_equal(s.image_ids, stores[0].image_ids) for s in stores)
    assert not np.array_equal(values[1], values[2])
    train, view, test = (s.path for s in stores)
    arguments = ["memorize", "--train", train, "--view", view, "--test", test, "--epochs", "1"]
    assert main([*arguments, "--source", f"{MODEL}@160", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["views"], row["instances"]) == (2, 3)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("runs/a.zarr", "runs/a.view3.zarr"),
        ("runs.d/a/", "runs.d/a.view3"),
        ("s3://bucket/a.b.zarr", "s3://bucket/a.b.view3.zarr"),
    ],
)
def test_where_a_view_goes(store, expected):
    assert view_store(store, 3) == expected
