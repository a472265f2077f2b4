"""A small labelled dataset, and the command line of a short run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from workbench.cli import main


@pytest.fixture(scope="session")
def coloured(tmp_path_factory):
    """24 images of 40 x 48, of two classes that differ in their colour."""
    return pictures(tmp_path_factory.mktemp("coloured"), 0)


@pytest.fixture(scope="session")
def held_out(tmp_path_factory):
    """As many others of the same classes."""
    return pictures(tmp_path_factory.mktemp("held_out"), 1)


def pictures(folder, seed):
    rng = np.random.default_rng(seed)
    for label, name in enumerate(("green", "red")):
        (folder / name).mkdir()
        for number in range(12):
            pixels = rng.integers(0, 255, (5, 6, 3)) // 2
            pixels[..., 1 - label] = 250
            large = np.kron(pixels, np.ones((8, 8, 1))).astype(np.uint8)
            Image.fromarray(large).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture
def line(coloured, held_out):
    """The words of a run's command; further options replace earlier ones."""

    def words(out, **more):
        options = {
            "model": "timm:test_vit:32", "dataset": f"folder:{coloured}",
            "val": f"folder:{held_out}", "scales": "1x 2x", "epochs": "2", "batch": "8",
            "checkpoint-every": "2", "log-every": "1", "workers": "0", "augment": "light2",
            "out": str(out),
        } | {name.replace("_", "-"): value for name, value in more.items()}  # fmt: skip
        found = ["pretrain"]
        for name, value in options.items():
            parts = [str(value)] if name in ("out", "dataset", "val") else str(value).split()
            found += [] if value is None else [f"--{name}", *parts]
        return [*found, "--json"]

    return words


@pytest.fixture
def pretrain(line, capsys):
    """Runs the command; its JSON."""

    def run(out, **more):
        assert main(line(out, **more)) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run
