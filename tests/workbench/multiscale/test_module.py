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
from workbench.multiscale import S2

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


SMALL = "random:timm:test_vit:32"


def plain_loop(model, images, factors):
    """S2 with one crop at a time: mean prefix and pooled map of each scale, side by side."""
    found = []
    for factor in factors:
        side = 32 * factor
        large = torch.nn.functional.interpolate(images, (side, side), mode="bicubic")
        large = images if factor == 1 else large
        rows, prefixes = [], []
        for top in range(0, side, 32):
            row = []
            for left in range(0, side, 32):
                tokens = model.forward_features(large[:, :, top : top + 32, left : left + 32])
                prefixes.append(tokens[:, :1])
                row.append(tokens[:, 1:].reshape(len(images), 2, 2, -1))
            rows.append(torch.cat(row, 2))
        merged = torch.cat(rows, 1).permute(0, 3, 1, 2)
        pooled = torch.nn.functional.adaptive_avg_pool2d(merged, 2).permute(0, 2, 3, 1)
        found.append((torch.stack(prefixes).mean(0), pooled))
    return [torch.cat(part, -1) for part in zip(*found, strict=True)]


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_a_plain_loop_over_crops(recompute):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    s2 = S2(
        workbench.models.load(SMALL), "1x+2x+3x", grad=True, recompute=recompute, max_crops=3
    ).train()
    weight = torch.randn(2, 2, 2, 3 * s2.info.channels, generator=generator)

    def gradients(prefix, tokens):
        s2.zero_grad()
        ((tokens * weight).sum() + prefix.square().sum()).backward()
        return [p.grad.clone() for p in s2.model.parameters() if p.grad is not None]

    expected = gradients(*plain_loop(s2.model, images, (1, 2, 3)))
    found = gradients(*s2(images))
    assert len(found) == len(expected) > 20
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(other.abs().max()), rtol=1e-3)


class Saved(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes of distinct tensors that are kept for the backward pass."""

    def __init__(self):
        self.sizes = {}
        super().__init__(self.keep, lambda tensor: tensor)

    def keep(self, tensor):
        storage = tensor.untyped_storage()
        self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


def test_recomputed_activations_grow_with_one_forward_pass():
    images = torch.randn(4, 3, 32, 32)
    kept = {}
    for recompute in (False, True):
        s2 = S2(workbench.models.load(SMALL), "1x+2x+3x", grad=True, recompute=recompute,
                max_crops=4)  # fmt: skip
        saved = Saved()
        with saved:
            tokens = s2(images)
        kept[recompute] = sum(saved.sizes.values())
        tokens.map.sum().backward()
    assert kept[True] < kept[False] / 5


def test_scales_are_added_and_the_grid_may_be_the_largest():
    backbone = workbench.models.load(SMALL)
    images = torch.randn(1, 3, 32, 32)
    one, two = (S2(backbone, scale)(images) for scale in ("1x", "2x"))
    added = S2(backbone, "1x+2x", merge="add")(images)
    torch.testing.assert_close(added.map, one.map + two.map)
    torch.testing.assert_close(added.prefix, one.prefix + two.prefix)
    large = S2(backbone, "1x+2x", grid="largest")(images).map
    assert large.shape == (1, 4, 4, 2 * backbone.info.channels)
    channels = backbone.info.channels
    torch.testing.assert_close(
        large[..., :channels], one.map.repeat_interleave(2, 1).repeat_interleave(2, 2)
    )
    torch.testing.assert_close(large[..., channels:], S2(backbone, "2x.unpooled")(images).map)


def test_raw_scales_take_their_own_images_beside_a_tensor():
    s2 = S2(workbench.models.load(SMALL), "1x+2x.raw")
    images, large = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)
    found = s2(images, raw={s2.scales[1]: large}).map
    channels = s2.info.channels
    assert not torch.equal(
        found[..., channels:], s2(images, raw={s2.scales[1]: -large}).map[..., channels:]
    )
    assert torch.equal(found[..., :channels], S2(workbench.models.load(SMALL))(images).map)


def test_a_copy_is_compiled_with_its_own_weights(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda read: compiled.append(read) or read)
    s2 = S2(workbench.models.load(SMALL), "1x", grad=True, compiled=True)
    images = torch.randn(1, 3, 32, 32)
    before = s2(images).map
    other = copy.deepcopy(s2)
    with torch.no_grad():
        other.model.norm.weight.mul_(2)
    assert not torch.equal(other(images).map, before)
    assert torch.equal(s2(images).map, before)
    assert compiled
