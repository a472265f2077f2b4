"""Out of memory: fewer crops, fewer images, or a refusal that says what to do."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from feature_store.errors import InputError
from workbench import models
from workbench.models.info import Tokens
from workbench.multiscale import CropLimit, Scale, features, forward, interpolate, scale_features
from workbench.multiscale.streams import one_core_threads

VIT = "random:timm:vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def vit():
    return models.load(VIT)


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


class Forgetful:
    """A backbone that runs out of memory above a number of crops."""

    def __init__(self, info, holds):
        self.info, self.holds, self.calls = info, holds, []
        self.device = torch.device("cpu")

    def __call__(self, crops):
        self.calls.append(len(crops))
        if len(crops) > self.holds:
            raise torch.OutOfMemoryError("out of memory")
        mean = crops.mean(dim=(1, 2, 3)).reshape(-1, 1, 1, 1).expand(-1, 14, 14, 192)
        return Tokens(mean[:, :1, 0], mean)


def test_out_of_memory_halves_the_crop_batch_and_says_so(vit, images):
    said = []
    limit = CropLimit(8, log=said.append)
    backbone = Forgetful(vit.info, holds=3)
    ours = scale_features(backbone, images, "448", max_crops=limit)
    assert backbone.calls == [8, 4, 2, 2, 2, 2]
    assert limit.at_once["crops"] == 2
    assert len(said) == 2
    assert "4 crops" in said[0]
    roomy = scale_features(Forgetful(vit.info, holds=99), images, "448")
    torch.testing.assert_close(ours.map, roomy.map)


def test_out_of_memory_in_a_stream_halves_the_crops_of_all(vit, images):
    with one_core_threads(2) as pool:
        limit = CropLimit(8, log=lambda line: None, streams=pool)
        ours = scale_features(Forgetful(vit.info, holds=3), images, "672", max_crops=limit)
    assert limit.at_once["crops"] == 2
    roomy = scale_features(Forgetful(vit.info, holds=99), images, "672")
    torch.testing.assert_close(ours.map, roomy.map)


def test_out_of_memory_halves_the_crops_that_were_tried(vit, images):
    limit = CropLimit(1024, log=lambda line: None)
    backbone = Forgetful(vit.info, holds=4)
    scale_features(backbone, images, "448", max_crops=limit)
    assert (backbone.calls[1], limit.at_once["crops"]) == (4, 4)


def test_out_of_memory_around_the_model_halves_the_images(vit, images, monkeypatch):
    base, large = Scale.parse("224"), Scale.parse("448.raw")
    raw = {large: interpolate(images, 448, 448)}
    whole = features(vit, images, [base, large], raw=raw)
    cut, tried, holds = forward.crops_of, [], [1]

    def forgetful(batch, plan):
        tried.append(len(batch))
        if len(batch) > holds[0]:
            raise torch.OutOfMemoryError("out of memory")
        return cut(batch, plan)

    monkeypatch.setattr(forward, "crops_of", forgetful)
    said = []
    limit = CropLimit(8, log=said.append)
    for _ in range(2):
        found = features(vit, images, [base, large], raw=raw, max_crops=limit)
        for scale, tokens in whole.items():
            torch.testing.assert_close(found[scale].map, tokens.map, atol=1e-5, rtol=1e-5)
    assert tried == [2, *[1] * 8]  # two images at two scales, twice; what did not fit is remembered
    assert len(said) == 1
    assert f"{VIT} continues with 1 images" in said[0]
    holds[0] = 0
    with pytest.raises(InputError, match="out of memory.*single image"):
        features(vit, images, [Scale.parse("224")], max_crops=limit)


def test_out_of_memory_on_one_crop_is_an_error(vit, images):
    with pytest.raises(InputError, match="single crop"):
        scale_features(Forgetful(vit.info, holds=0), images, "224", max_crops=CropLimit(1))


def test_other_runtime_errors_pass_through(vit, images):
    backbone = Forgetful(vit.info, holds=1)
    backbone.info = dataclasses.replace(vit.info, grid=(3, 3))
    with pytest.raises(InputError, match="expected at least 1"):
        CropLimit(0)

    class Broken(Forgetful):
        def __call__(self, crops):
            raise RuntimeError("bad shape")

    with pytest.raises(RuntimeError, match="bad shape"):
        scale_features(Broken(vit.info, holds=1), images, "224")
