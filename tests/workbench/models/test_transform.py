"""The transform against torchvision's, and its geometry at other sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision import transforms

from feature_store.errors import InputError
from workbench.datasets.decode import DecodeError
from workbench.models import Transform
from workbench.models.transform import Padded


def photograph(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (333, 999), (300, 300), (100, 80), (1, 1)]
)
def test_equals_resize_and_centre_crop(size):
    image = photograph(*size)
    bicubic = transforms.InterpolationMode.BICUBIC
    oracle = transforms.Compose(
        [transforms.Resize(256, interpolation=bicubic), transforms.CenterCrop(224)]
    )
    ours = Transform(height=224, width=224, resize_ratio=256 / 224)(image)
    assert ours.shape == (224, 224, 3)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, np.asarray(oracle(image)))


@pytest.mark.parametrize("side", [224, 384, 518])
@pytest.mark.parametrize("share", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_equals_timm_s_transform(side, share, mode):
    image = photograph(700, 550)
    oracle = transforms_imagenet_eval(
        img_size=side, crop_pct=share, crop_mode=mode, interpolation="bicubic", normalize=False
    )
    config = {"crop_pct": share, "crop_mode": mode, "interpolation": "bicubic"}
    ours = Transform.recorded(config, side, "timm:any")(image)
    np.testing.assert_array_equal(ours, oracle(image).permute(1, 2, 0).numpy())


def test_squash_ignores_the_aspect_ratio():
    image = photograph(400, 100)
    ours = Transform(height=224, width=224, mode="squash")(image)
    np.testing.assert_array_equal(ours, np.asarray(image.resize((224, 224), Image.BICUBIC)))


def test_an_image_that_would_fill_the_memory_is_refused():
    with pytest.raises(DecodeError, match=r"too large once resized: 20000 x 1 .* 5120000 x 256"):
        Transform(height=224, width=224, resize_ratio=256 / 224)(photograph(20_000, 1))


def test_raw_scales_see_the_same_field_of_view():
    """The mean colour of a smooth image is the same at every scale."""
    ramp = np.linspace(0, 255, 600)[None, :, None].repeat(400, 0).repeat(3, 2).astype(np.uint8)
    base = Transform(height=224, width=224, resize_ratio=256 / 224)
    small, large = base(Image.fromarray(ramp)), base.at(672, 672)(Image.fromarray(ramp))
    assert large.shape == (672, 672, 3)
    np.testing.assert_allclose(small[0, [0, -1], 0], large[0, [0, -1], 0], atol=2)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (2000, 300), (300, 2000)])
def test_non_square_crops_lie_inside_the_image(size):
    white = Image.new("RGB", size, "white")
    for height, width in ((224, 448), (448, 224), (224, 672)):
        ours = Transform(height=224, width=224, resize_ratio=1.0).at(height, width)(white)
        assert ours.shape == (height, width, 3)
        assert (ours == 255).all()


def test_unknown_choices_are_refused():
    with pytest.raises(InputError, match="expected centre, squash or pad"):
        Transform(height=1, width=1, mode="border")
    with pytest.raises(InputError, match="expected one of nearest"):
        Transform(height=1, width=1, interpolation="cubic")


@pytest.mark.parametrize(
    ("size", "margin"), [((400, 200), np.s_[0:50, :]), ((200, 400), np.s_[:, 0:50])]
)
def test_padding_keeps_the_whole_image(size, margin):
    """LLaVA's expand2square: nothing is cut off, margins have the mean colour."""
    image = photograph(*size)
    padded = Transform(height=200, width=200, resize_ratio=256 / 224).padded((0.5, 0.25, 1.0))
    square = Image.new("RGB", (400, 400), (127, 63, 255))
    square.paste(image, ((400 - size[0]) // 2, (400 - size[1]) // 2))
    expected = np.asarray(square.resize((200, 200), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(padded(image), expected)
    inner = padded(image)[margin][5:-5, 5:-5].reshape(-1, 3)
    assert np.unique(inner, axis=0).tolist() == [[127, 63, 255]]
    assert padded.at(400, 400)(image).shape == (400, 400, 3)
    with pytest.raises(DecodeError, match="100000 x 100000"):
        padded(Image.new("RGB", (100_000, 1)))


def test_a_recorded_transform_is_read_back():
    for transform in (Transform(height=4, width=6), Transform(height=4, width=6).padded((0, 0, 1))):
        record = transform.record() | {"mean": [0, 0, 0]}
        assert json.loads(json.dumps(record)) == record
        assert Transform.stored(record) == transform
        assert isinstance(Transform.stored(record), Padded) == isinstance(transform, Padded)
