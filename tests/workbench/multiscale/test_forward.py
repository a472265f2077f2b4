"""The multi-scale pass against a crop-by-crop reference, by inverse pairs and by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench import models
from workbench.models.info import Tokens
from workbench.multiscale import (
    CropLimit,
    Scale,
    base_size,
    features,
    forward,
    interpolate,
    merge,
    plan,
    pool,
    resolve_scales,
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


def test_merge_of_a_hand_computed_grid():
    """Four 2 x 2 crops numbered 0 to 15 in reading order of the crops give this 4 x 4 grid."""
    crops = torch.arange(16.0).reshape(4, 2, 2, 1)
    merged = merge(crops, (2, 2))[0, :, :, 0]
    assert merged.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert pool(merge(crops, (2, 2)), (2, 2))[0, :, :, 0].tolist() == [[1.5, 5.5], [9.5, 13.5]]


def test_split_of_a_hand_computed_grid():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    crops = split(image, 2)[:, 0].reshape(4, 4)
    assert crops.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@given(n=st.integers(1, 3), p=st.integers(1, 4), q=st.integers(1, 4), crop=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_split_and_merge_are_inverse(n, p, q, crop):
    x = torch.arange(n * 2 * p * crop * q * crop, dtype=torch.float32)
    x = x.reshape(n, 2, p * crop, q * crop)
    crops = split(x, crop)
    assert crops.shape == (n * p * q, 2, crop, crop)
    assert torch.equal(merge(crops.movedim(1, -1), (p, q)), x.movedim(1, -1))


def test_split_refuses_what_does_not_divide():
    with pytest.raises(InputError, match="do not split"):
        split(torch.zeros(1, 3, 5, 4), 2)


def test_pool_averages_overlapping_cells_and_keeps_the_mean():
    maps = torch.randn(2, 6, 9, 4, dtype=torch.float16)
    pooled = pool(maps, (2, 3))
    assert pooled.dtype == torch.float32
    expected = maps.double().reshape(2, 2, 3, 3, 3, 4).mean(dim=(2, 4))
    torch.testing.assert_close(pooled.double(), expected, atol=1e-6, rtol=0)


def test_pool_repeats_cells_where_the_map_is_coarser():
    maps = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert pool(maps, (4, 4))[0, :, :, 0].tolist() == expected


def test_interpolate_antialiases_only_when_it_shrinks():
    """Bicubic keeps constants; a one-pixel checkerboard halves to grey only with antialias."""
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8)[None, None]
    assert (interpolate(board, 8, 8)[0, 0, 2:-2, 2:-2] - 0.5).abs().max() < 1e-6
    up = interpolate(board, 32, 32)
    plain = torch.nn.Upsample(size=(32, 32), mode="bicubic", align_corners=False)(board)
    assert torch.equal(up, plain)
    assert interpolate(board, 16, 16) is board
    assert interpolate(board.half(), 32, 32).dtype == torch.float32


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


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    raw=st.booleans(),
    how=st.sampled_from(["", "whole", "pad"]),
    unpooled=st.booleans(),
)
@settings(deadline=None)
def test_scale_text_round_trip(height, width, raw, how, unpooled):
    scale = Scale(
        height=height, width=width, raw=raw, unpooled=unpooled, **({how: True} if how else {})
    )
    assert Scale.parse(str(scale)) == scale


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not a size"),
        ("0", "not a size"),
        ("-224", "not a size"),
        ("2x2x2", "not a size"),
        ("abc", "not a size"),
        ("²", "not a size"),
        ("448.hole", "'hole' is unknown or repeated"),
        ("448.raw.raw", "unknown or repeated"),
        ("448.whole.pad", "exclude each other"),
    ],
)
def test_malformed_scales_are_refused(text, match):
    with pytest.raises(InputError, match=match):
        Scale.parse(text)


def test_multiples_resolve_to_pixels_and_never_alias():
    assert resolve_scales(["0.5x", "1x", "2x.whole", "224x448"], 224) == [
        "112",
        "224",
        "448.whole",
        "224x448",
    ]
    with pytest.raises(InputError, match="named twice"):
        resolve_scales(["1x", "224"], 224)
    with pytest.raises(InputError, match="not a whole pixel"):
        resolve_scales(["0.3x"], 224)


def test_sizes_that_do_not_divide_name_the_nearest(vit):
    with pytest.raises(InputError, match=r"nearest valid sizes: 224, 448; or add \.whole"):
        plan(Scale.parse("300"), vit.info)
    with pytest.raises(InputError, match="patches of 16 pixels; nearest valid sizes: 288, 304"):
        plan(Scale.parse("300.whole"), vit.info)
    with pytest.raises(InputError, match="no simple aspect ratio"):
        base_size(Scale.parse("333x500"), 224)


def test_whole_scale_of_an_inflexible_model_is_refused(vit):
    stiff = dataclasses.replace(vit.info, flexible=False)
    with pytest.raises(InputError, match="native 224 pixels only"):
        plan(Scale.parse("448.whole"), stiff)
    with pytest.raises(InputError, match="native 224 pixels only"):
        plan(Scale.parse("112"), stiff)


def test_raw_scale_wants_images_of_its_size(vit, images):
    with pytest.raises(InputError, match=r"original images resized to 448 x 448; found 224 x 224"):
        scale_features(vit, images, "448.raw")
    with pytest.raises(InputError, match="found none"):
        features(vit, images, [Scale.parse("448.raw")])


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


def test_crops_of_all_scales_share_forward_passes(vit, images):
    backbone = Forgetful(vit.info, holds=99)
    scales = [Scale.parse(text) for text in ("224", "448", "672")]
    features(backbone, images, scales, max_crops=10)
    assert backbone.calls == [10, 10, 8]  # two images, 1 + 4 + 9 crops each


def test_out_of_memory_halves_the_crop_batch_and_says_so(vit, images):
    said = []
    limit = CropLimit(8, say=said.append)
    backbone = Forgetful(vit.info, holds=3)
    ours = scale_features(backbone, images, "448", max_crops=limit)
    assert backbone.calls == [8, 4, 2, 2, 2, 2]
    assert limit.crops == 2
    assert len(said) == 2
    assert "4 crops per forward pass" in said[0]
    roomy = scale_features(Forgetful(vit.info, holds=99), images, "448")
    torch.testing.assert_close(ours.map, roomy.map)


def test_out_of_memory_halves_the_crops_that_were_tried(vit, images):
    limit = CropLimit(1024, say=lambda line: None)
    backbone = Forgetful(vit.info, holds=4)
    scale_features(backbone, images, "448", max_crops=limit)
    assert (backbone.calls[1], limit.crops) == (4, 4)


def test_out_of_memory_around_the_model_halves_the_images(vit, images, monkeypatch):
    base, large = Scale.parse("224"), Scale.parse("448.raw")
    raw = {large: interpolate(images, 448, 448)}
    whole = features(vit, images, [base, large], raw=raw)
    cut, tried, holds = forward.cut_crops, [], [1]

    def forgetful(batch, how):
        tried.append(len(batch))
        if len(batch) > holds[0]:
            raise torch.OutOfMemoryError("out of memory")
        return cut(batch, how)

    monkeypatch.setattr(forward, "cut_crops", forgetful)
    said = []
    limit = CropLimit(8, say=said.append)
    for _ in range(2):
        found = features(vit, images, [base, large], raw=raw, max_crops=limit)
        for scale, tokens in whole.items():
            torch.testing.assert_close(found[scale].map, tokens.map, atol=1e-5, rtol=1e-5)
    assert tried == [2, *[1] * 8]  # two images at two scales, twice; what did not fit is remembered
    assert said == [
        "out of memory: random:timm:vit_tiny_patch16_224 goes on with 1 images at a time"
    ]
    holds[0] = 0
    with pytest.raises(InputError, match="out of memory as a single image is scaled"):
        features(vit, images, [Scale.parse("224")], max_crops=limit)


def test_more_pixels_than_an_image_is_resized_to_are_refused(vit):
    with pytest.raises(InputError, match="are more than 268,435,456 pixels"):
        plan(Scale.parse("40000.pad"), vit.info)


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


@pytest.mark.parametrize("scale", ["112.pad", "112x224.pad"])
def test_a_padded_scale_below_native_runs_at_native_size(scale, vit, images):
    how = plan(Scale.parse(scale), vit.info)
    assert (how.crop, how.crops) == ((224, 224), (1, 1))
    base = F.interpolate(images, how.base)
    assert scale_features(vit, base, scale).map.shape == (len(images), *how.grid, 192)


def test_a_size_that_a_model_cannot_run_at_is_refused():
    info = models.resolve("random:timm:maxvit_tiny_tf_224")
    with pytest.raises(InputError, match=r"cannot run at 112 x 112 .* multiples of its native 224"):
        plan(Scale.parse("112"), info)
