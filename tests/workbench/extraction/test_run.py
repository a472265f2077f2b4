"""One pass over the images for models that see them differently, at every kind of scale."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import feature_store
from workbench.cli import main
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.run import Extraction
from workbench.models import load
from workbench.multiscale import Scale, plan_scale, scale_features

MODEL = "random:timm:test_vit.r160_in1k"
OTHER = "random:timm:vit_tiny_patch16_224:96"
"""Another native size, share of the image and normalisation than the first."""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for k in range(7):
        pixels = rng.integers(0, 255, (30 + 4 * k, 50, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((400, 240 + 32 * k))
        image.save(tmp_path / "images" / f"{k}.png")
    return tmp_path / "images"


def stored(folder, store, models, scales, **changes):
    """Source to values after one extraction."""
    options = dict(shard_images=3, batch=2, dtype="float32") | changes
    extract(
        ExtractRequest(
            dataset=f"folder:{folder}", models=models, scales=scales, store=str(store), **options
        )
    )
    opened = feature_store.open(store)
    return {name: opened.features(name).values for name in opened.sources()}


def test_two_models_in_one_pass_equal_two_passes(folder, tmp_path):
    together = stored(folder, tmp_path / "both", [MODEL, OTHER], ["1x", "2x"])
    apart = stored(folder, tmp_path / "one", [MODEL], ["1x", "2x"])
    apart |= stored(folder, tmp_path / "other", [OTHER], ["1x", "2x"])
    assert together.keys() == apart.keys()
    assert len(together) == 4
    for name, values in together.items():
        np.testing.assert_allclose(values, apart[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "scale", ["320.raw", "320.whole", "200.pad", "96.pad", "160x320", "320x160.raw", "320.unpooled"]
)
def test_every_kind_of_scale_is_stored_as_the_model_computes_it(folder, tmp_path, scale):
    (values,) = stored(folder, tmp_path / "s", [MODEL], [scale]).values()
    backbone = load(MODEL)
    plan = plan_scale(Scale.parse(scale), backbone.info)
    size = (plan.scale.height, plan.scale.width) if plan.scale.raw else plan.base
    transform = backbone.info.transform.at(*size)
    for path, found in zip(sorted(folder.iterdir()), values, strict=True):
        pixels = torch.from_numpy(transform(Image.open(path)))[None]
        expected = scale_features(backbone, backbone.normalise(pixels), scale).map[0]
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=path.name)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_after_the_shard_in_hand(folder, tmp_path, capsys, monkeypatch, sign):
    computed = Extraction._compute

    def interrupted(self, batch, held):
        if batch.shard == 1:
            os.kill(os.getpid(), sign)
        computed(self, batch, held)

    command = ["extract", "--dataset", f"folder:{folder}", "--model", MODEL, "--scales", "1x"]
    command += ["--store", str(tmp_path / "s"), "--shard-images", "2", "--batch", "2"]
    with monkeypatch.context() as patched:
        patched.setattr(Extraction, "_compute", interrupted)
        assert main(command) == 1
    assert "repeat the command" in capsys.readouterr().err
    scale = feature_store.open(tmp_path / "s").source(f"{MODEL}#final@160")
    assert [scale.is_committed(shard) for shard in range(4)] == [True, True, False, False]
    assert main(command) == 0
    whole = stored(folder, tmp_path / "whole", [MODEL], ["1x"], dtype="float16", shard_images=2)
    (name,) = whole
    found = feature_store.open(tmp_path / "s").features(name).values
    np.testing.assert_array_equal(found, whole[name])
