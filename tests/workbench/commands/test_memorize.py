"""workbench memorize: views, JSON, files."""

from __future__ import annotations

import json

import numpy as np

from workbench.cli import main
from workbench.commands.extract import view_store

SOURCE = "toy:a#b@224"


def test_json_files_and_foreign_test_store(make_store, tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 1, 1, 40)).astype(np.float32)
    ids = [str(n) for n in range(30)]
    paths = [
        make_store(f"v{n}", {SOURCE: x + 0.1 * n}, ids=ids).path.removeprefix("file://")
        for n in range(3)
    ]
    other = make_store("other", {SOURCE: x}).path.removeprefix("file://")
    given = ["memorize", "--train", paths[0], "--view", paths[1], "--source", SOURCE, "--json"]
    out = tmp_path / "out"
    assert main([*given, "--test", paths[2], "--random-labels", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["views"] == 2
    assert found["rows"][0]["held_out_accuracy"] is not None
    assert found["random_labels"][0]["censored"] is True
    names = {path.name for path in out.iterdir()}
    assert {"memorize.csv", "memorize.md", "memorize.png", "memorize.tex"} <= names
    assert {f"random_labels.{kind}" for kind in ("csv", "md", "tex", "png")} <= names
    assert found["config"]["pooling"] == "mean"
    assert main([*given, "--test", other]) == 0
    assert "holds other images" in capsys.readouterr().err


def test_views_beside_the_store_are_found_and_the_last_is_held_out(make_store, capsys):
    x = np.random.default_rng(0).normal(size=(20, 1, 1, 30)).astype(np.float32)
    ids = [str(n) for n in range(20)]
    paths = [
        make_store(name, {SOURCE: x + 0.01 * n}, ids=ids).path.removeprefix("file://")
        for n, name in enumerate(("s.zarr", "s.view1.zarr", "s.view2.zarr"))
    ]
    assert view_store("a.b/s", 1) == "a.b/s.view1"
    given = ["memorize", "--train", paths[0], "--views", "2", "--source", SOURCE, "--json"]
    assert main(given) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["views"] == 2
    assert row["held_out_accuracy"] is not None
    assert main([*given, "--test", paths[0]]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["views"] == 3
    assert main([*given[:4], "3", *given[5:]]) == 2
    assert "s.view3.zarr" in capsys.readouterr().err
