"""A published decoder as a number of a table: trained on images, kept, stale when maps change."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from workbench.heads import on_the_fly
from workbench.heads.recipes import RECIPES
from workbench.tables.pipeline import config, decoders, plan, run
from workbench.tables.records import freshness
from workbench.tables.specs.common import VPD
from workbench.tables.specs.schema import Metric, Quantity, Setup, TableSpec

SOURCE = "random:timm:test_vit.r160_in1k:32@32"


@pytest.fixture
def small(monkeypatch):
    """The recipe for depth, with a small decoder and small crops."""
    recipe = RECIPES["nyuv2-vpd"]
    small = replace(
        recipe,
        decoder=replace(recipe.decoder, hidden=32, deconvolved=32, output=32, batch=2),
        crops=replace(recipe.crops, side=32, window_stride=16),
    )
    monkeypatch.setitem(RECIPES, "nyuv2-vpd", small)


@pytest.fixture
def profile(tmp_path):
    """Images with depth in place of the bundled scenes."""
    lines = ["decoder_iterations = 2", "[datasets.scenes]", "train_limit = 3"]
    for role, count in (("train", 4), ("test", 2)):
        folder = tmp_path / role
        folder.mkdir()
        rows = ["path,depth"]
        for k in range(count):
            grey = np.full((32, 40, 3), 60 * (k + 1), np.uint8)
            Image.fromarray(grey).save(folder / f"{k}.png")
            np.save(folder / f"{k}.npy", np.full((32, 40), 1 + k, np.float32))
            rows.append(f"{k}.png,{k}.npy")
        (folder / "all.csv").write_text("\n".join(rows))
        lines.append(f"{role} = 'csv:{folder}/all.csv'")
    (tmp_path / "config.toml").write_text("\n".join(lines))
    return config.load("bundled", tmp_path / "out", tmp_path / "config.toml")


@pytest.fixture
def planned(small, profile):
    """A table of one number."""
    ask = Quantity(
        analysis="depth_decoder", field="rmse", data="scenes", source=SOURCE,
        options=(("published", "nyuv2-vpd"),),
    )  # fmt: skip
    setup = Setup(quantities={"rmse": {("one",): ask}}, comparable=True, deviations=("none",))
    spec = TableSpec(
        key="x", title="t", question="q?", paper="s2", reference="r", label=("a",),
        rows=(("one",),), metrics=(Metric(column="rmse", name="RMSE"),),
        setups={"bundled": setup},
    )  # fmt: skip
    return plan.make([spec], profile)


def test_a_number_of_a_decoder_is_kept_and_stale_when_maps_change(planned, profile, tmp_path):
    out = tmp_path / "out"
    assert planned.needs(profile) == {}, "nothing is stored"
    first = run.run(planned, profile, out, print)
    assert (first.measured, first.extracted, first.failed) == (1, [], {})
    (row,) = first.tables["x"]["rows"]
    cell = row["cells"]["rmse"]
    assert 0 < cell["low"] <= cell["value"] <= cell["high"] < 10
    assert not cell["comparable"]
    assert any(
        "trained for 2 steps, the paper's for 25,000" in line
        for line in first.tables["x"]["footnotes"]
    )
    assert list(out.glob("decoders/*/*-vpd-crops32-seed0/step_0000000002.*"))
    assert "25,000" not in VPD, "the standing footnote"
    assert run.run(planned, profile, out, print).measured == 0
    assert run.run(planned, replace(profile, arithmetic="bf16"), out, print).measured == 1
    made = first.tables["x"]["measurements"]
    assert freshness.stale(made, out) == []
    np.save(tmp_path / "test" / "0.npy", np.full((32, 40), 9, np.float64))
    (line,) = freshness.stale(made, out)
    assert "the depth maps of csv:" in line
    os.utime(tmp_path / "test" / "0.png", (0, 0))
    assert "files of images of csv:" in freshness.stale(made, out)[0]
    (tmp_path / "test" / "all.csv").write_text("path,depth\n1.png,1.npy\n")
    assert "lists other images" in freshness.stale(made, out)[0]


def test_a_request_to_stop_ends_the_run(planned, profile, tmp_path, monkeypatch):
    monkeypatch.setattr(on_the_fly, "compute", lambda *given, **options: None)
    with pytest.raises(KeyboardInterrupt):
        run.run(planned, profile, tmp_path / "out", print)


def test_a_trial_has_fewer_steps_than_published():
    asked = {"published": "nyuv2-vpd", "merge": "add"}
    assert [decoders.fewer(asked, n) for n in (None, 10, 25_000, 30_000)] == [None, 10, None, None]
    whole = decoders.options(asked, arithmetic="bf16", workers=3, iterations=30_000)
    recipe = RECIPES["nyuv2-vpd"]
    assert (whole.training, whole.decoder) == (recipe.training, recipe.decoder)
    assert whole.crops == replace(recipe.crops, arithmetic="bf16", workers=3)
    assert (whole.config.merge, whole.config.task, whole.eigen_crop) == ("add", "depth", "nyu")
    assert decoders.options(asked, iterations=10).training.iterations == 10
