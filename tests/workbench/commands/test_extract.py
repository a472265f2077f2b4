"""workbench extract: several splits in one call, and what it warns of."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import feature_store
from workbench.cli import main

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
    assert said.endswith("--scales 1x 2x 448")
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
