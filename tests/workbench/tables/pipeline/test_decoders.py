"""A published decoder as a number of a table: trained on images, kept, stale when maps change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from workbench.heads.recipes import RECIPES
from workbench.tables.pipeline import config, plan, run
from workbench.tables.records import freshness
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
    lines = ["decoder_iterations = 2", "[datasets.scenes]"]
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


def test_a_number_of_a_decoder_is_kept_and_stale_when_maps_change(small, profile, tmp_path):
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
    planned, out = plan.make([spec], profile), tmp_path / "out"
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
    assert run.run(planned, profile, out, print).measured == 0
    made = first.tables["x"]["measurements"]
    assert freshness.stale(made, out) == []
    np.save(tmp_path / "test" / "0.npy", np.full((32, 40), 9, np.float64))
    (line,) = freshness.stale(made, out)
    assert "the depth maps of csv:" in line
    (tmp_path / "test" / "all.csv").write_text("path,depth\n1.png,1.npy\n")
    assert "lists other images" in freshness.stale(made, out)[0]
