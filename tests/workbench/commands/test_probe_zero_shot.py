"""``workbench probe --zero-shot``: from images and class names to an accuracy."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from workbench.cli import main
from workbench.extraction import ExtractRequest, extract

MODEL = "random:open_clip:ViT-S-32:64"


def test_images_are_compared_with_class_names(tmp_path, capsys):
    for n, name in enumerate(("red car", "blue_car")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(3):
            grey = np.full((64, 64, 3), 40 * k + 90 * n, np.uint8)
            Image.fromarray(grey).save(tmp_path / "photos" / name / f"{k}.png")
    store, out = str(tmp_path / "test.zarr"), tmp_path / "out"
    asked = {"dataset": f"folder:{tmp_path}/photos", "scales": ["64"], "store": store}
    extract(ExtractRequest(models=[f"{MODEL}#proj", f"{MODEL}#final"], **asked))
    capsys.readouterr()
    given = ["probe", "--test", store, "--zero-shot", "--json"]
    assert main([*given, "--source", f"{MODEL}#proj@64", "--out", str(out)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["classes"], row["test_images"], row["channels"]) == (2, 6, 384)
    assert 0 <= row["low"] <= row["test_accuracy"] <= row["high"] <= 1
    assert (out / "zero_shot.md").exists()
    assert main([*given, "--source", f"{MODEL}#final@64"]) == 2
    assert f"extract and name {MODEL}#proj" in capsys.readouterr().err
    assert main([*given, "--train", store, "--source", f"{MODEL}#proj@64"]) == 2
    assert "leave out --train" in capsys.readouterr().err
    ignored = ["--merge", "add", "--seed", "1", "--l2", "0.1", "--keep-shared"]
    more = ["--pooling", "prefix", "--recipe", "paper"]
    assert main([*given, *ignored, *more, "--source", f"{MODEL}#proj@64"]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in (*ignored[::2], *more[::2]))
    assert main(["probe", "--test", store, "--source", f"{MODEL}#proj@64"]) == 2
    assert "--train is missing" in capsys.readouterr().err


def test_a_store_without_labels_is_refused(make_store, capsys):
    store = make_store("plain", {f"{MODEL}#proj@64": np.zeros((2, 1, 1, 4), np.float32)})
    path = store.path.removeprefix("file://")
    assert main(["probe", "--test", path, "--zero-shot", "--source", f"{MODEL}#proj@64"]) == 2
    assert "has no labels; name a labelled dataset" in capsys.readouterr().err
