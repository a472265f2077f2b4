"""The multi-scale pass against a crop-by-crop reference, by inverse pairs and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench import models
from workbench.multiscale import (
    Scale,
    features,
    interpolate,
    merge,
    plan_scale,
    pool,
    s2_features,
    scale_features,
    split,
)

VIT = "random:timm:vit_tiny_patch16_224"
LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture(scope="module")
def vit():
    return models.load(VIT)


@pytest.fixture(scope="module")
def lite0():
    return models.load(LITE0)


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def reference(backbone, image, side):
    """One image, one crop at a time, loops over every cell: the definition, written plainly."""
    native, (rows, cols) = backbone.info.native, backbone.info.grid
    large = torch.nn.Upsample(size=(side, side), mode="bicubic", align_corners=False)(image[None])
    per_side = side // native
    merged = np.zeros((rows * per_side, cols * per_side, backbone.info.channels))
    prefixes = []
    for i in range(per_side):
        for j in range(per_side):
            top, left = i * native, j * native
            out = backbone(large[:, :, top : top + native, left : left + native].clone())
            merged[i * rows : (i + 1) * rows, j * cols : (j + 1) * cols] = out.map[0].numpy()
            prefixes.append(out.prefix[0].numpy())
    pooled = np.zeros((rows, cols, backbone.info.channels))
    for r in range(rows):
        for c in range(cols):
            cell = merged[r * per_side : (r + 1) * per_side, c * per_side : (c + 1) * per_side]
            pooled[r, c] = cell.mean(axis=(0, 1))
    return np.mean(prefixes, axis=0), pooled


@pytest.mark.parametrize("side", [224, 448, 672])
@pytest.mark.parametrize("name", ["vit", "lite0"])
def test_equals_the_loop_over_crops(name, side, images, request):
    backbone = request.getfixturevalue(name)
    ours = scale_features(backbone, images, str(side), max_crops=3)
    for i, image in enumerate(images):
        prefix, pooled = reference(backbone, image, side)
        assert ours.prefix.shape[1] == backbone.info.prefix
        np.testing.assert_allclose(ours.map[i], pooled, atol=1e-5)
        np.testing.assert_allclose(ours.prefix[i], prefix, atol=1e-5)


def test_s2_features_are_the_scales_side_by_side(vit, images):
    ours = s2_features(vit, images, ["224", "448"])
    for k, image in enumerate(images):
        small, large = reference(vit, image, 224), reference(vit, image, 448)
        expected = np.concatenate([small[1], large[1]], axis=-1)
        np.testing.assert_allclose(ours.map[k], expected, atol=1e-5)
        prefix = np.concatenate([small[0], large[0]], axis=-1)
        np.testing.assert_allclose(ours.prefix[k], prefix, atol=1e-5)


def test_batch_size_changes_nothing_beyond_rounding(vit, lite0, images):
    """The bound: 1e-5 of the largest feature, for any crops per forward pass."""
    for backbone in (vit, lite0):
        together = scale_features(backbone, images, "448", max_crops=8)
        for crops in (1, 3, 5):
            alone = scale_features(backbone, images, "448", max_crops=crops)
            bound = 1e-5 * together.map.abs().max()
            assert (alone.map - together.map).abs().max() <= bound
            if backbone.info.prefix:
                assert (alone.prefix - together.prefix).abs().max() <= bound
        single = scale_features(backbone, images[:1], "448")
        assert (single.map - together.map[:1]).abs().max() <= 1e-5 * together.map.abs().max()


def test_several_scales_together_equal_each_alone(vit, images):
    raw = torch.randn(2, 3, 448, 448, generator=torch.Generator().manual_seed(1))
    scales = [Scale.parse(s) for s in ("224", "448", "448.raw", "448.whole.unpooled", "112")]
    together = features(vit, images, scales, raw={scales[2]: raw}, max_crops=4)
    assert list(together) == scales
    for scale in scales:
        alone = scale_features(vit, raw if scale.raw else images, scale)
        torch.testing.assert_close(together[scale].map, alone.map, atol=1e-5, rtol=0)
        torch.testing.assert_close(together[scale].prefix, alone.prefix, atol=1e-5, rtol=0)
    assert together[scales[3]].map.shape == (2, 28, 28, 192)


def test_whole_image_is_the_model_at_that_size(vit, lite0, images):
    for backbone, rows in ((vit, 28), (lite0, 14)):
        large = torch.nn.Upsample(size=(448, 448), mode="bicubic", align_corners=False)(images)
        whole = scale_features(backbone, images, "448.whole.unpooled")
        assert whole.map.shape[1:3] == (rows, rows)
        torch.testing.assert_close(whole.map, backbone(large).map, atol=1e-5, rtol=0)


def test_smaller_than_native_runs_whole_with_antialias(vit, lite0, images):
    for backbone in (vit, lite0):
        small = torch.nn.functional.interpolate(
            images, size=(112, 112), mode="bicubic", antialias=True, align_corners=False
        )
        ours = scale_features(backbone, images, "112")
        assert tuple(ours.map.shape[1:3]) == backbone.info.grid
        torch.testing.assert_close(ours.map, pool(backbone(small).map, backbone.info.grid))


def test_non_square_images_split_into_square_crops(vit):
    base = torch.randn(1, 3, 224, 448, generator=torch.Generator().manual_seed(2))
    one = scale_features(vit, base, "224x448")
    assert one.map.shape == (1, 14, 28, 192)
    left, right = vit(base[..., :224].clone()), vit(base[..., 224:].clone())
    torch.testing.assert_close(one.map, torch.cat([left.map, right.map], 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(one.prefix, (left.prefix + right.prefix) / 2, atol=1e-5, rtol=0)
    assert scale_features(vit, base, "448x896").map.shape == one.map.shape
    with pytest.raises(InputError, match="another aspect ratio"):
        scale_features(vit, base, "448")


def test_padded_scale_keeps_the_cells_that_see_the_image(vit, images):
    ours = scale_features(vit, images, "320.pad.unpooled")
    assert ours.map.shape[1:3] == (20, 20)
    filled = torch.zeros(2, 3, 448, 448)
    filled[:, :, :320, :320] = interpolate(images, 320, 320)
    merged = merge(vit(split(filled, 224)).map, (2, 2))
    torch.testing.assert_close(ours.map, merged[:, :20, :20], atol=1e-5, rtol=0)


def test_raw_scale_wants_images_of_its_size(vit, images):
    with pytest.raises(InputError, match=r"original images resized to 448 x 448; found 224 x 224"):
        scale_features(vit, images, "448.raw")
    with pytest.raises(InputError, match="found none"):
        features(vit, images, [Scale.parse("448.raw")])


class Counting:
    """Counts the crops of each forward pass."""

    def __init__(self, backbone):
        self.backbone, self.info, self.device, self.calls = (
            backbone,
            backbone.info,
            backbone.device,
            [],
        )

    def __call__(self, crops):
        self.calls.append(len(crops))
        return self.backbone(crops)


def test_crops_of_all_scales_share_forward_passes(vit, images):
    backbone = Counting(vit)
    scales = [Scale.parse(text) for text in ("224", "448", "672")]
    features(backbone, images, scales, max_crops=10)
    assert backbone.calls == [10, 10, 8]  # two images, 1 + 4 + 9 crops each


@pytest.mark.parametrize("scale", ["112.pad", "112x224.pad"])
def test_a_padded_scale_below_native_runs_at_native_size(scale, vit, images):
    plan = plan_scale(Scale.parse(scale), vit.info)
    assert (plan.crop, plan.crops) == ((224, 224), (1, 1))
    base = F.interpolate(images, plan.base)
    assert scale_features(vit, base, scale).map.shape == (len(images), *plan.grid, 192)
