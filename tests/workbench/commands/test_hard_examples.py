"""workbench hard-examples: from images with hostile names and labels to gallery, tables, JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workbench.cli import main
from workbench.extraction import ExtractRequest, extract

SMALL, LARGE = "random:timm:test_vit.r160_in1k", "random:timm:test_vit2.r160_in1k"
EVIL = "<script>alert(1)</script>"
SOURCES = [f"{SMALL}@160", f"{SMALL}@160+320", f"{LARGE}@320", f"{LARGE}@160"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Pictures of two classes that differ in brightness, one pair of them swapped in the test."""
    root = tmp_path_factory.mktemp("hard")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 8)):
        lines = ["path,label"]
        for k in range(count):
            bright = k % 2 if (split, k) != ("test", 3) else 0
            pixels = rng.integers(0, 60, (40, 50, 3), dtype=np.uint8) + np.uint8(150 * bright)
            name = f"{split}{k} <b>.png"
            Image.fromarray(pixels).resize((180, 170)).save(root / name)
            lines.append(f"{name},{(EVIL, 'day & night')[k % 2]}")
        (root / f"{split}.csv").write_text("\n".join(lines))
    given = []
    for split in ("train", "test"):
        path = root / f"{split}.zarr"
        extract(
            ExtractRequest(
                dataset=f"csv:{root / split}.csv", models=[SMALL, LARGE], scales=["160", "320"],
                store=str(path), dtype="float32",
            )
        )  # fmt: skip
        given += [f"--{split}", str(path)]
    return given


def test_files_json_and_escaping(stores, tmp_path, capsys):
    ask = [part for name in SOURCES for part in ("--source", name)]
    out = tmp_path / "out"
    assert main(["hard-examples", *stores, *ask, "--l2", "0.1", "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    more = {"shared_images", "unseen_classes"}
    assert set(found) == {"rows", "eligible", "sources", "accuracy"} | more
    assert [row["source"] for row in found["accuracy"]] == SOURCES
    assert found["sources"]["large"] == SOURCES[3]
    names = {path.name for path in out.iterdir()}
    assert {"hard.json", "hard.csv", "hard.html", "duplicates.csv", "label_errors.csv"} <= names
    assert {"accuracy.md", "accuracy.csv", "accuracy.tex", "accuracy.png"} <= names
    page = (out / "hard.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    suspicious = pd.read_csv(out / "label_errors.csv")
    assert suspicious["image_id"].tolist() == ["test3 <b>.png"]
    assert suspicious["suggested"].tolist() == [EVIL]


def test_too_few_sources_is_misuse(stores, capsys):
    assert main(["hard-examples", *stores, "--source", SOURCES[0]]) == 2
    assert "hard examples need at least three" in capsys.readouterr().err
