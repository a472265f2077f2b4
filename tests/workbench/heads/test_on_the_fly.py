"""Decoders learn from crops, resume exactly, and the command trains and plans them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from analyses.configs import DenseConfig
from analyses.reading.splits import image_notes
from feature_store import InputError
from workbench import datasets
from workbench.cli import main
from workbench.heads import on_the_fly
from workbench.heads.config import CropConfig, DecoderConfig
from workbench.heads.crops import MappedImages
from workbench.heads.encoder import Encoder
from workbench.heads.options import OnTheFly
from workbench.results import strict_json
from workbench.training.config import TrainingConfig

MODEL = "random:timm:test_vit.r160_in1k:32"
SOURCE = f"{MODEL}@32+64"


def compute(seen, unseen, folder, task="depth", head="vpd", iterations=6, source=SOURCE):
    options = OnTheFly(
        config=DenseConfig(task=task, resamples=5),
        decoder=DecoderConfig(head=head, hidden=32, batch=4, learning_rate=3e-3),
        crops=CropConfig(side=32, ratios=(1, 1), colour=False),
        training=TrainingConfig(iterations=iterations, checkpoint_every=2),
    )
    return on_the_fly.compute(
        datasets.open(seen), datasets.open(unseen), sources=source, options=options,
        folder=folder, log=print,
    )  # fmt: skip


def test_what_colours_tell_is_learnt_from_crops(seen, unseen, tmp_path):
    table = compute(seen, unseen, tmp_path, iterations=40)
    assert table["rmse"][0] < 0.5  # the mean depth everywhere is off by 0.8
    row = table.iloc[0]
    assert (row["crop"], row["window"], row["train_images"], row["test_images"]) == (
        32, "slide", 8, 4,
    )  # fmt: skip
    report = table.attrs["shared_images"]
    assert (report["shared"], report["repeated"], report["compared"]) == (None, None, "ids")
    assert "by their ids, not by their pixels" in image_notes(report)[0]


def test_a_killed_run_ends_with_the_same_numbers(seen, unseen, tmp_path, monkeypatch):
    whole = compute(seen, unseen, tmp_path / "whole")
    draw = MappedImages.__getitem__

    def killed(self, key):
        if key[0] == 4:
            raise RuntimeError("killed")
        return draw(self, key)

    monkeypatch.setattr(MappedImages, "__getitem__", killed)
    with pytest.raises(RuntimeError, match="killed"):
        compute(seen, unseen, tmp_path / "again")
    assert list((tmp_path / "again").glob("*/step_0000000002.*"))
    monkeypatch.setattr(MappedImages, "__getitem__", draw)
    assert compute(seen, unseen, tmp_path / "again").to_dict() == whole.to_dict()


def test_runs_on_other_image_files_are_refused(coloured_maps, unseen, tmp_path):
    seen = coloured_maps("changing", 2)
    compute(seen, unseen, tmp_path, iterations=1)
    (record,) = tmp_path.glob("*/run.json")
    assert {"timm", "pillow"} < strict_json.read(record)["environment"].keys()
    os.utime(Path(seen.removeprefix("csv:")).parent / "0.png", (0, 0))
    with pytest.raises(InputError, match="another run: files was"):
        compute(seen, unseen, tmp_path, iterations=1)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: no memory")],
)
def test_a_device_without_enough_memory_is_one_line(seen, unseen, capsys, monkeypatch, error):
    def full(self, pixels):
        raise error

    monkeypatch.setattr(Encoder, "__call__", full)
    given = ["--train", seen, "--test", unseen, "--source", SOURCE, "--dense", "depth"]
    assert main(["probe", *given, "--head", "vpd", "--crop", "32", "--batch", "3"]) == 2
    assert "cpu has too little memory for vpd with batches of 3" in capsys.readouterr().err


def test_raw_scales_and_shared_images_are_refused(seen, unseen, tmp_path):
    with pytest.raises(InputError, match=r"write 64.raw without .raw"):
        compute(seen, unseen, tmp_path, source=f"{MODEL}@32+64.raw")
    with pytest.raises(InputError, match="share 8 of 8 test images"):
        compute(seen, seen, tmp_path)


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (f"{MODEL}@32+64.raw", "write 64.raw without .raw"),
        (f"{MODEL}@32+70", "70 x 70 is not a multiple of native 32"),
        (f"{MODEL}@32+64.unpooled", "token grids"),
        ("random:timm:nothing", "nothing"),
    ],
)
def test_a_second_source_is_refused_before_the_first_is_trained(
    seen, unseen, tmp_path, second, found
):
    with pytest.raises(InputError, match=found):
        compute(seen, unseen, tmp_path, source=[SOURCE, second], iterations=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", ["0.png", "1.npy"])
def test_test_images_are_checked_before_the_training(seen, coloured_maps, tmp_path, broken):
    unseen = coloured_maps("broken", 3, count=2)
    path = Path(unseen.removeprefix("csv:")).parent / broken
    if path.suffix == ".npy":
        np.save(path, np.ones((4, 4), np.float32))
    else:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"0.png cannot be read|1.png has 4 x 4 pixels"):
        compute(seen, unseen, tmp_path, iterations=1)
    assert not list(tmp_path.iterdir())


def test_folders_of_other_runs_are_refused_before_the_model_is_loaded(
    seen, unseen, tmp_path, monkeypatch, capsys
):
    compute(seen, unseen, tmp_path, iterations=1)
    monkeypatch.setattr(on_the_fly, "Encoder", None)
    with pytest.raises(InputError, match="iterations was 1 there and is 2 now"):
        compute(seen, unseen, tmp_path, iterations=2)
    (tmp_path / "file").touch()
    ask = ["--train", seen, "--test", unseen, "--source", SOURCE, "--dense", "depth"]
    more = ["--head", "vpd", "--crop", "32", "--out", str(tmp_path / "file")]
    assert main(["probe", *ask, *more]) == 2
    assert f"{tmp_path / 'file'} is a file" in capsys.readouterr().err


def test_the_command_trains_on_crops_and_plans(seen, unseen, tmp_path, capsys):
    pytest.importorskip("transformers", reason="install the extra: decoders")
    given = ["probe", "--train", seen, "--test", unseen, "--source", SOURCE, "--json"]
    ask = [*given, "--dense", "segmentation"]
    small = ["--head", "upernet", "--hidden", "32", "--batch", "2", "--iterations", "2"]
    assert main([*ask, *small, "--crop", "32", "--out", str(tmp_path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["head"], row["crop"], row["iterations"]) == ("upernet", 32, 2)
    assert list(tmp_path.glob("*-upernet-crops32-seed0/step_0000000002.*"))
    for name in ("segmentation_curve.svg", "segmentation_predictions.png"):
        assert (tmp_path / name).exists()
    assert main([*ask, "--published", "ade20k-mask2former", "--estimate"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["crops_bytes"] > row["unpooled_bytes"] > row["stored_bytes"] > 0
    assert row["on_the_fly_gpu_hours"] > row["stored_gpu_hours"] > 0
    assert 1e7 < row["head_params"] < 4e7
    assert row["on_the_fly_memory_gb"] > row["stored_memory_gb"] > 1
    assert main([*ask, "--window", "whole", "--head", "upernet"]) == 2
    assert "--window, --arithmetic and --workers" in capsys.readouterr().err
    assert main([*ask, "--published", "ade20k-upernet", "--hidden", "64"]) == 2
    assert "--published ade20k-upernet trains upernet" in capsys.readouterr().err
    assert main([*ask, "--published", "ade20k-upernet", "--crop", "64"]) == 2
    assert "leave out --crop 64" in capsys.readouterr().err
    assert main([*ask, *small, "--crop", "32", "--keep-shared"]) == 2
    assert "leave out --keep-shared" in capsys.readouterr().err
    assert main([*given, "--published", "nyuv2-vpd"]) == 2
    assert "--head vpd predicts maps" in capsys.readouterr().err
