"""workbench probe: JSON on standard output, files in --out, misuse with status 2."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.cli import main

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
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["source"] for row in rows] == [SMALL, "toy:a#blocks@224+448"]
    assert rows[0].keys() >= {"source", "train_loss", "test_accuracy", "low", "high"}
    assert all(row["low"] <= row["test_accuracy"] <= row["high"] for row in rows)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["probe.csv", "probe.md", "probe.png", "probe.svg"]


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
    assert main([*arguments[:4], arguments[2], *arguments[5:]]) == 2
    assert "share 40 of 40 test images" in capsys.readouterr().err
