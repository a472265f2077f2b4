"""Crops in parallel: the same tokens in every way, and rows for every way a model can take."""

from __future__ import annotations

import pytest
import torch

from workbench.cost import LatencyConfig, latency
from workbench.cost.one_image import WAYS, run_image
from workbench.cost.parallel import CropWorkers
from workbench.models import load
from workbench.multiscale import split

MODEL = "random:timm:test_vit.r160_in1k"


@pytest.mark.slow
def test_tokens_do_not_depend_on_workers_or_on_the_order_of_crops():
    images = torch.randn((1, 3, 160, 160), generator=torch.Generator().manual_seed(0))
    batched = run_image(MODEL, None, "480", "batched", LatencyConfig(), images)
    alone = run_image(MODEL, None, "480", "sequential", LatencyConfig(), images)
    torch.testing.assert_close(alone.map, batched.map, atol=2e-5, rtol=1e-4)
    crops = split(torch.randn((1, 3, 480, 480), generator=torch.Generator().manual_seed(1)), 160)
    expected = load(MODEL)(crops)
    order = torch.tensor([4, 0, 8, 2, 1, 3, 7, 6, 5])
    with CropWorkers(MODEL, None, LatencyConfig(crop_processes=2)) as workers:
        found, shuffled = workers.run(crops), workers.run(crops[order])
        few = workers.run(crops[:1])  # one worker has nothing to do
        assert workers.peak_mb() > 0
    torch.testing.assert_close(found.map, expected.map, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(shuffled.map, expected.map[order], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(shuffled.prefix, expected.prefix[order], atol=2e-5, rtol=1e-4)
    assert len(few.map) == 1


@pytest.mark.slow
def test_each_way_has_a_row():
    table = latency(MODEL, ["1x", "2x"], LatencyConfig(crop_processes=2, warmup=0, repeats=1))
    assert [way for scale, way in table[["scale", "way"]].values if scale == "320"] == list(WAYS)
    assert table["way"][table["scale"] == "160"].tolist() == ["batched", "whole"]
    assert table.set_index("way")["crops"].loc[["workers", "sequential"]].tolist() == [4, 4]
    assert (table["seconds"] > 0).all()
    assert (table["peak_mb"] > 50).all()
