"""Hours and memory of decoders, by hand."""

from __future__ import annotations

import pytest

from analyses.configs import DenseConfig
from workbench import models
from workbench.cost import cost
from workbench.heads import estimate
from workbench.heads.config import CropConfig, DecoderConfig
from workbench.heads.options import OnTheFly
from workbench.multiscale import plan_scale
from workbench.training.config import TrainingConfig

MODEL = "random:timm:test_vit.r160_in1k:32"
OPTIONS = OnTheFly(
    config=DenseConfig(task="depth"),
    decoder=DecoderConfig(head="vpd", hidden=32, batch=4, max_depth=10),
    crops=CropConfig(side=32, window="whole", arithmetic="bf16"),
    training=TrainingConfig(iterations=100),
)


def hours(gmacs, tflops):
    return 2e9 * gmacs / (tflops * 1e12) / 3600


def test_the_decoder_is_priced_at_the_rate_of_fp32():
    row = estimate.estimate(f"{MODEL}@32", OPTIONS, images=(8, 5), classes=0, tflops=100)
    of_model = cost(MODEL, ["32"]).gmacs
    channels, grid = models.resolve(MODEL).channels, models.resolve(MODEL).grid
    of_head = estimate._decoder(OPTIONS.decoder, channels, grid, 32, 0)["gmacs"]
    assert of_head > 0
    assert row["on_the_fly_gpu_hours"] == pytest.approx(
        hours((400 + 5) * of_model, 100) + hours((3 * 400 + 5) * of_head, 10)
    )
    assert row["stored_gpu_hours"] == pytest.approx(
        hours(13 * of_model, 100) + hours(3 * 400 * of_head, 10)
    )
    assert "at 100 TFLOP/s" in (said := estimate.assumption(100))
    assert "at 10 TFLOP/s (assumed)" in said


def test_memory_counts_whole_crops_and_maps_before_pooling():
    info = models.resolve(MODEL)
    base, split, whole = (plan_scale(text, info) for text in ("32", "64", "64.whole"))
    tokens = info.grid[0] * info.grid[1]

    def values(plans):  # bytes over channels, with one byte a token of a layer
        return estimate._working(plans, info, 2, 1) / info.channels

    maps = 2 * 4 * 2 * tokens
    assert values([base]) == 2 * (tokens + info.prefix) + maps
    assert values([base, split]) == 10 * (tokens + info.prefix) + 5 * maps
    assert values([base, whole]) == 2 * (4 * tokens + info.prefix) + 5 * maps
