"""``workbench reconstruct --stream``: models on images, nothing stored, the figures of a store."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import feature_store
from analyses import reconstruction
from analyses.moments import on_disk
from analyses.reconstruction import ReconstructionConfig
from feature_store.errors import InputError
from workbench import datasets
from workbench.cli import main
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.streaming import Running, StreamConfig, StreamedSplit

SMALL, LARGE = "random:timm:test_vit.r160_in1k", "random:timm:test_vit2.r160_in1k"
ASK = {"target": f"{LARGE}@160", "sources": [f"{SMALL}@160", f"{SMALL}@160+320"]}
QUIET = {"log": lambda line: None}


@pytest.fixture
def folders(tmp_path):
    for split, count in (("train", 9), ("test", 5)):
        for k in range(count):
            pixels = np.random.default_rng([k, count]).integers(0, 255, (20, 25, 3), dtype=np.uint8)
            (tmp_path / split).mkdir(exist_ok=True)
            Image.fromarray(pixels).resize((200, 180)).save(tmp_path / split / f"{k}.png")
    (tmp_path / "train" / "4.png").write_bytes(b"no picture")
    return tmp_path


def stored(folders, split, models=(SMALL, LARGE), scales=("160", "320")):
    path = folders / f"{split}.zarr"
    asked = {"models": models, "scales": scales, "dtype": "float32", "batch": 4, "shard_images": 4}
    extract(ExtractRequest(dataset=f"folder:{folders / split}", store=str(path), **asked))
    return feature_store.open(path)


def streamed(folders, split, store=None):
    how = StreamConfig(batch=2)
    return StreamedSplit(datasets.open(f"folder:{folders / split}"), Running(how, **QUIET), store)


def table(train, test, **options):
    config = ReconstructionConfig(ridge=0.3, resamples=20, **options)
    return reconstruction.rows(reconstruction.compute(train, test, **ASK, config=config))


def test_streamed_figures_are_those_of_stored_float32_features(folders):
    expected = table(stored(folders, "train"), stored(folders, "test"))
    found = table(streamed(folders, "train"), streamed(folders, "test"))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)
    partly = [
        streamed(folders, s, stored(folders, s, (SMALL,), ("160",))) for s in ("train", "test")
    ]
    pd.testing.assert_frame_equal(table(*partly), expected, rtol=1e-4)


@pytest.mark.parametrize("resumed", [False, True])
def test_test_images_with_the_pixels_of_training_images_are_left_out(folders, tmp_path, resumed):
    again = folders / "test" / "again.png"
    again.write_bytes((folders / "train" / "2.png").read_bytes())
    options = {"moments": tmp_path / "m.zarr"} if resumed else {}
    config = ReconstructionConfig(ridge=0.3, resamples=2, **options)

    def compute():
        splits = (streamed(folders, s) for s in ("train", "test"))
        return reconstruction.compute(*splits, **ASK, config=config)

    found = compute()
    if resumed:  # from the stored moments, so that no pass decodes a training image
        found = compute()
    assert found.attrs["shared_images"]["shared"] == [["again.png", "2.png"]]
    assert found.attrs["test_images"] == 5
    again.unlink()
    assert found.equals(compute())


def test_only_what_a_store_lacks_is_computed(folders, monkeypatch):
    monkeypatch.setattr("workbench.extraction.streaming.forward", None)  # no model may run
    both = [streamed(folders, s, stored(folders, s)) for s in ("train", "test")]
    assert np.isfinite(table(*both)["test_loss"]).all()
    with pytest.raises(TypeError):
        table(streamed(folders, "train"), both[1])


def test_a_warning_is_logged_once():
    said = []
    running = Running(log=said.append)
    for line in ("small", "small", "other"):
        running.warn(line)
    assert said == ["warning: small", "warning: other"]


def test_interrupted_stream_goes_on_with_the_images_it_lacks(folders, tmp_path, monkeypatch):
    path = str(tmp_path / "moments.zarr")
    test = stored(folders, "test")
    whole = table(streamed(folders, "train"), test)
    from workbench.extraction import streaming

    seen, original = [], streaming.forward

    def counted(model, group, batch):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(batch.rows)
        return original(model, group, batch)

    monkeypatch.setattr(streaming, "forward", counted)
    with pytest.raises(KeyboardInterrupt):
        table(streamed(folders, "train"), test, moments=path)
    kept = on_disk.load(path)
    assert 0 < kept.images.sum() < 8
    assert kept.attrs["dataset"] == f"folder:{folders / 'train'}"
    monkeypatch.setattr(streaming, "forward", lambda *a: seen.append(a[2].rows) or original(*a))
    seen.clear()
    again = table(streamed(folders, "train"), test, moments=path)
    rows = {row for part in seen for row in part}
    assert len(rows) == 8 - kept.images.sum()
    pd.testing.assert_frame_equal(again, whole, rtol=1e-4)


def test_command_streams_datasets_and_says_when_it_should(folders, capsys):
    splits = [
        *("--train", f"folder:{folders / 'train'}"),
        *("--test", f"folder:{folders / 'test'}"),
    ]
    ask = ["--target", f"{LARGE}@160", "--source", f"{SMALL}@160", "--ridge", "0.3"]
    assert main(["reconstruct", *splits, *ask, "--stream", "--batch", "4", "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["train_images"] == 8
    assert report["rows"][0]["source"] == f"{SMALL}#final@160"
    assert "random weights" in printed.err
    assert main(["reconstruct", *splits, *ask]) == 2
    assert "add --stream" in capsys.readouterr().err


def test_names_and_refusals(folders):
    split = streamed(folders, "train")
    assert str(split.resolve(f"{SMALL}@160+320")) == f"{SMALL}#final@160+320"
    with pytest.raises(InputError, match="nearest valid"):
        split.resolve(f"{SMALL}@200")
    store = stored(folders, "test")
    with pytest.raises(InputError, match="no longer holds"):
        StreamedSplit(datasets.open(f"folder:{folders / 'test'}", limit=2), Running(), store)
