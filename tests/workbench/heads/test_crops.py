"""Crops keep image and map together, and are the same wherever they are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_store import InputError
from workbench import datasets
from workbench.heads.config import CropConfig
from workbench.heads.crops import (
    MARGIN,
    MappedImages,
    random_crop,
    recoloured,
    resized_sides,
    share_of_largest,
)
from workbench.heads.recipes import RECIPES
from workbench.training.batches import Batches

PLAIN = CropConfig(side=40, ratios=(1, 1), colour=False)


def painted(height, width, seed=0):
    """An image whose red value is the class of its pixel."""
    truth = np.random.default_rng(seed).integers(0, 200, (height, width))
    return np.stack([truth, truth * 0, truth * 0], -1).astype(np.uint8), truth


def test_image_and_mask_stay_together():
    image, truth = painted(40, 60)
    for seed in range(8):
        pixels, seen = random_crop(image, truth, PLAIN, np.random.default_rng(seed))
        assert pixels.shape == (40, 40, 3)
        np.testing.assert_array_equal(pixels[..., 0], seen)
    starts = {random_crop(image, truth, PLAIN, np.random.default_rng(k))[1][0, 0] for k in range(9)}
    assert len(starts) > 4


@pytest.mark.parametrize("ratio", [0.7, 1.6])
def test_a_resized_image_and_its_mask_stay_together(ratio):
    """Two colours in cells of 15 pixels; compared where no edge is next to a pixel."""
    truth = np.random.default_rng(0).integers(0, 2, (6, 8)).repeat(15, 0).repeat(15, 1)
    image = np.repeat((255 * truth).astype(np.uint8)[..., None], 3, -1)
    config = replace(PLAIN, side=60, ratios=(ratio, ratio))
    for seed in range(6):
        pixels, seen = random_crop(image, truth, config, np.random.default_rng(seed))
        around = np.lib.stride_tricks.sliding_window_view(seen, (3, 3))
        inside = (around.min((2, 3)) == around.max((2, 3))) & (around[..., 1, 1] >= 0)
        assert inside.mean() > 0.2
        bright = pixels[1:-1, 1:-1, 0] > 127
        np.testing.assert_array_equal(bright[inside], seen[1:-1, 1:-1][inside] == 1)


def test_the_longest_side_follows_the_ratio_where_a_recipe_says_so():
    config = CropConfig(side=512)
    assert resized_sides((100, 900), config, 0.5) == (228, 2048)
    follows = replace(config, longest_follows=True)
    assert resized_sides((100, 900), follows, 0.5) == (114, 1024)
    assert RECIPES["ade20k-upernet"].crops.longest_follows


def test_small_images_end_in_margins_that_teach_nothing():
    image, truth = painted(40, 60)
    half = replace(PLAIN, ratios=(0.5, 0.5))
    pixels, seen = random_crop(image, truth, half, np.random.default_rng(0))
    assert (seen[20:] == -1).all()
    assert (seen[:20, :30] >= 0).all()
    assert (pixels[20:] == MARGIN).all()
    depth = random_crop(image, truth.astype(np.float32), half, np.random.default_rng(0))[1]
    assert (np.isnan(depth) == (seen == -1)).all()


def test_crops_of_one_class_are_drawn_again():
    truth = np.repeat([0, 1], 50)[None].repeat(100, 0)
    image = np.zeros((100, 100, 3), np.uint8)

    def mixed(most):
        config = CropConfig(side=20, ratios=(5, 5), most_of_a_class=most, colour=False)
        crops = [random_crop(image, truth, config, np.random.default_rng(k)) for k in range(20)]
        return sum(share_of_largest(seen) <= 0.75 for _, seen in crops)

    assert mixed(0.75) > 12
    assert mixed(1.0) < 8
    assert share_of_largest(np.array([[0, 1, 1, -1]])) == 2 / 3
    assert share_of_largest(np.array([[-1]])) == 0


def test_grey_stays_grey_and_colours_change():
    grey = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(6):
        changed = recoloured(grey, np.random.default_rng(seed)).astype(int)
        assert np.ptp(changed, -1).max() == 0
    red = np.full((2, 2, 3), (200, 50, 50), np.uint8)
    assert len({tuple(recoloured(red, np.random.default_rng(k))[0, 0]) for k in range(9)}) > 5


def test_the_same_crops_wherever_they_are_made(seen):
    images = MappedImages(datasets.open(seen), "segmentation", CropConfig(side=24), seed=3)
    here, there = (Batches(images, batch=3, workers=n) for n in (0, 2))
    for step in (1, 2, 3):
        (a, b), (c, d) = (made.ready(made.read(step)) for made in (here, there))
        assert (a.numpy() == c.numpy()).all()
        assert (b.numpy() == d.numpy()).all()
        assert (a.shape, b.shape) == ((3, 24, 24, 3), (3, 24, 24))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_reader": lambda name: np.zeros((5, 7), np.int32)}, r"5 x 7 pixels .* 32 x 40"),
        ({"mask_reader": lambda name: np.full((32, 40), 3)}, "class 3; the dataset has .* 0 to 2"),
        ({"reader": lambda name: b"no image"}, "0.png cannot be read"),
    ],
)
def test_maps_and_images_that_cannot_be_used_are_named(seen, change, message):
    images = MappedImages(replace(datasets.open(seen), **change), "segmentation", PLAIN, classes=3)
    batches = Batches(images, batch=2, workers=0)
    with pytest.raises(InputError, match=message):
        images.pair(0)
    with pytest.raises(InputError, match="take it out of the dataset"):
        batches.ready(batches.read(1))


def test_depth_in_millimetres_is_refused_as_metres(seen):
    dataset = replace(
        datasets.open(seen), depth_reader=lambda name: np.full((32, 40), 2500, np.float32)
    )
    with pytest.raises(InputError, match="2500, expected at most 1000 metres"):
        MappedImages(dataset, "depth", PLAIN).pair(0)
    assert MappedImages(dataset, "depth", PLAIN, unit="mm").pair(0)[1][0, 0] == 2.5
