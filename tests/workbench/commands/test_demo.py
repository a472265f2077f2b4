"""The demo end to end on a few images."""

from __future__ import annotations

import pandas as pd
import pytest

import feature_store
from feature_store.verify import verify
from workbench.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(folder), "--limits", "60", "40"]) == 0
    return folder


def test_the_stores_are_complete_and_sound(out):
    for split, images in (("train", 60), ("test", 40)):
        store = feature_store.open(out / f"{split}.zarr")
        assert len(store) == images
        assert len(store.sources()) == 4
        assert verify(store).problems == []


def test_tables_and_figures_are_written(out):
    names = {p.name for p in out.iterdir()}
    for stem in ("information", "accuracy_against_cost"):
        assert {f"{stem}.png", f"{stem}.svg"} <= names
    assert {"table2.md", "table2.csv", "table2.tex", "probe.csv", "probe.md"} <= names
    table = pd.read_csv(out / "table2.csv")
    assert [s.partition("@")[2] for s in table.source] == ["224", "224+448", "240"]
    assert table.test_info_bits.gt(0.5).all()  # 1.66 to 1.70 bits with 450 training images
    assert table.test_info_low.le(table.test_info_bits).all()
    assert table.train_ratio.iloc[-1] == 1
    probe = pd.read_csv(out / "probe.csv")
    assert probe.test_accuracy.gt(0.5).all()  # the largest class is half of the images
    small, s2 = probe.gmacs[0], probe.gmacs[1]
    assert s2 == pytest.approx(5 * small)


def test_three_sentences(out):
    lines = (out / "found.md").read_text().splitlines()
    assert len(lines) == 3
    assert all(line.endswith(".") for line in lines)


def test_an_interrupted_run_stops_and_names_the_way_on(tmp_path, monkeypatch, capsys):
    import workbench.extraction as extraction

    def first_only(request, **options):
        report = whole(request, **options)
        report.interrupted = True
        return report

    whole, limits = extraction.extract, ["--limits", "4", "4"]
    monkeypatch.setattr(extraction, "extract", first_only)
    assert main(["demo", "--out", str(tmp_path), *limits]) == 130
    assert "repeat the command to resume" in capsys.readouterr().err
    assert len(feature_store.open(tmp_path / "train.zarr").sources()) == 2
    assert not (tmp_path / "test.zarr").exists()


def test_a_second_run_computes_nothing(out, capsys):
    assert main(["demo", "--out", str(out), "--limits", "60", "40"]) == 0
    assert "to compute" not in capsys.readouterr().err
