"""``workbench similarity`` from a store on disk to tables, figure and JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from workbench.cli import main


@pytest.fixture
def ask(make_store, tmp_path):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((30, 2, 2, 4)).astype(np.float32)
    b = rng.standard_normal((30, 2, 2, 4)).astype(np.float32)
    make_store("s.zarr", {"m:a#f@8": a, "m:a#f@16": b, "m:b#f@8": a + b}, shard_images=64)
    sources = ["--source", "m:a@8", "--source", "m:a@8+16", "--source", "m:b@8"]
    return ["similarity", "--store", str(tmp_path / "s.zarr"), *sources, "--k", "3"]


def test_json_names_every_pair_once(ask, capsys):
    assert main([*ask, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    pairs = [(row["source"], row["source_2"]) for row in report["pairs"]]
    assert pairs == [
        ("m:a#f@8", "m:a#f@8+16"),
        ("m:a#f@8", "m:b#f@8"),
        ("m:a#f@8+16", "m:b#f@8"),
    ]
    assert report["pairs"][2]["cca"] == pytest.approx(1, abs=1e-4)
    assert report["geometry"][0]["source"] == "m:a#f@8"
    assert report["samples"] == 120


def test_tables_and_figure_are_written(ask, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*ask, "--out", str(out)]) == 0
    assert "procrustes" in capsys.readouterr().out
    assert len(pd.read_csv(out / "similarity.csv")) == 3
    assert len(pd.read_csv(out / "geometry.csv")) == 3
    assert r"\begin{tabular}" in (out / "similarity.tex").read_text()
    assert (out / "similarity.png").stat().st_size > 1000


def test_unknown_source_is_one_line_and_status_2(ask, capsys):
    assert main([*ask, "--source", "m:c@8"]) == 2
    assert "does not hold m:c@8" in capsys.readouterr().err
