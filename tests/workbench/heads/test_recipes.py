"""Recipes are what their files state."""

from __future__ import annotations

import pytest

from analyses.configs import DenseConfig
from feature_store import InputError
from workbench.heads.config import CropConfig, Schedule
from workbench.heads.optimiser import trained
from workbench.heads.options import DenseOptions
from workbench.heads.recipes import RECIPES


def test_learning_rates_of_vpd():
    recipe = RECIPES["nyuv2-vpd"]
    assert (recipe.decoder.batch, recipe.training.iterations) == (32, 25_000)
    rates = [recipe.decoder.schedule.share(done, 25_000) for done in (0, 11_999, 12_000, 18_000)]
    assert rates == pytest.approx([0.03, 1, 1, 0.03 + 0.97 * 0.5**0.9], abs=1e-4)
    assert recipe.decoder.schedule.share(24_500, 25_000) == pytest.approx(0.03)


def test_learning_rates_of_segmentation():
    mask2former, upernet = (RECIPES[f"ade20k-{n}"].decoder for n in ("mask2former", "upernet"))
    assert mask2former.schedule.share(0, 160_000) == 1
    assert mask2former.schedule.share(80_000, 160_000) == pytest.approx(0.5**0.9)
    assert upernet.schedule.share(749, 160_000) == pytest.approx(0.5, abs=1e-5)
    assert upernet.schedule.share(1500 + 79_250, 160_000) == pytest.approx(0.5)
    assert Schedule().share(0, 1000) == 1 / 50  # the small default


def test_a_short_run_keeps_the_shape_of_the_schedule():
    short = RECIPES["nyuv2-vpd"].shortened(250)
    whole = RECIPES["nyuv2-vpd"]
    assert short.training.iterations == 250
    for done in (0, 100, 120, 200, 249):
        now, then = (r.decoder.schedule.share(k, r.training.iterations)
                     for r, k in ((short, done), (whole, 100 * done)))  # fmt: skip
        assert now == pytest.approx(then, abs=0.01)


def test_options_of_the_command_replace_those_of_a_recipe():
    config = DenseConfig(task="depth")
    whole = DenseOptions(published="nyuv2-vpd").on_the_fly(config, "cpu")
    assert (whole.config.averaged_over, whole.config.depth_cap) == ("images", 10)
    assert whole.training == RECIPES["nyuv2-vpd"].training
    asked = DenseOptions(published="nyuv2-vpd", checkpoint_every=200, batch=4, iterations=250)
    short = asked.on_the_fly(config, "cpu")
    assert (short.training.checkpoint_every, short.training.iterations) == (200, 250)
    assert (short.decoder.batch, short.decoder.schedule.level) == (4, 10)


def test_norms_and_embeddings_do_not_decay():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    head = nn.Sequential(nn.Conv2d(2, 3, 1), nn.GroupNorm(1, 3), nn.Embedding(4, 3))
    decaying, kept = trained(
        head, RECIPES["nyuv2-vpd"].decoder, 10, lambda step: None, lambda batch: batch
    ).optimizer.param_groups
    assert [tuple(p.shape) for p in decaying["params"]] == [(3, 2, 1, 1)]
    assert (decaying["weight_decay"], kept["weight_decay"]) == (0.1, 0)
    assert len(kept["params"]) == 4


def test_ratios_must_rise():
    with pytest.raises(InputError, match=r"ratios are \(2, 1\)"):
        CropConfig(ratios=(2, 1))
