"""``workbench.load``: equal to what extraction stores, trainable behind it and through it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

import feature_store
import workbench
from feature_store.errors import InputError
from workbench.extraction import ExtractRequest, extract

MODELS = ["bundled:efficientnet_lite0", "random:timm:vit_tiny_patch16_224"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(np.kron(pixels, np.ones((20, 20, 1), np.uint8))).save(
            folder / f"{name}.png"
        )
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_module_gives_what_extraction_stores_and_a_head_trains_on_it(name, photos, tmp_path):
    request = ExtractRequest(
        dataset=f"folder:{photos}", models=[name], scales=["1x", "2x"],
        store=str(tmp_path / "s"), dtype="float32", device="cpu",
    )  # fmt: skip
    extract(request, log=lambda line: None)
    stored = feature_store.open(tmp_path / "s")
    s2 = workbench.load(name, scales=("1x", "2x"))
    paths = [photos / "a.png", Image.open(photos / "b.png")]
    tokens = s2(paths)
    torch.testing.assert_close(
        tokens.map, torch.tensor(stored.features(f"{name}@1x+2x").values), atol=1e-5, rtol=0
    )
    if tokens.prefix.shape[1]:
        expected = torch.tensor(stored.prefix(f"{name}@1x+2x").values)
        torch.testing.assert_close(tokens.prefix, expected, atol=1e-5, rtol=0)
    one = s2(str(photos / "a.png"))
    torch.testing.assert_close(one.map, tokens.map[:1], atol=1e-5, rtol=0)
    torch.testing.assert_close(s2(s2.prepare(paths)).map, tokens.map, atol=1e-5, rtol=0)
    head = torch.nn.Linear(tokens.map.shape[-1], 2)
    head(tokens.map.mean((1, 2))).sum().backward()
    assert head.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in s2.parameters())
    assert not copy.deepcopy(s2).train().model.training, "a frozen model stays in evaluation mode"


def test_gradients_reach_the_model_on_request_only():
    name = MODELS[1]
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    s2 = workbench.load(f"{name}@1x+2x", grad=True)
    s2(x).map.sum().backward()
    assert s2.model.patch_embed.proj.weight.grad.abs().sum() > 0
    frozen = workbench.load(name, "1x+2x")(x).map
    assert not frozen.requires_grad
    torch.testing.assert_close(s2(x).map.detach(), frozen, atol=1e-5, rtol=0)
    with torch.no_grad():
        assert not s2(x[0]).map.requires_grad


def test_refusals(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    s2 = workbench.load(MODELS[1], ("1x", "2x.raw"))
    with pytest.raises(InputError, match="text.png"):
        s2(tmp_path / "text.png")
    with pytest.raises(InputError, match="448.raw takes the original images"):
        s2(torch.zeros(1, 3, 224, 224))
    with pytest.raises(InputError, match="token grids"):
        workbench.load(MODELS[1], ("1x", "2x.unpooled"))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        workbench.lode  # noqa: B018 the lookup is the test
