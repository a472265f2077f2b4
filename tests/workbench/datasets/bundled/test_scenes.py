"""bundled:scenes: repeatable, exact maps, geometry by hand; maps follow the model's transform."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from workbench import datasets
from workbench.datasets.bundled import scenes
from workbench.datasets.bundled.scenes import FOCAL, SHAPES, SIDE, WALL, Thing, silhouette
from workbench.datasets.target_maps import AlignedMaps, source_pixels
from workbench.models import Transform

pytest.importorskip("skimage")


def test_split_labels_and_repeatability():
    train, test = (datasets.open(f"bundled:scenes:{s}") for s in ("train", "test"))
    assert (len(train), len(test)) == (450, 150)
    assert not set(train.image_ids) & set(test.image_ids)
    assert train.label_names == SHAPES
    assert np.bincount(train.labels[:100], minlength=5).min() > 5
    again = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(train.image(3), again.image(3))
    assert train.image(3).shape == (SIDE, SIDE, 3)


def test_maps_agree_with_the_things_of_the_scene():
    dataset = datasets.open("bundled:scenes:test", limit=5)
    for row, image_id in enumerate(dataset.image_ids):
        mask, depth = dataset.mask(row), dataset.depth(row)
        assert mask.dtype == np.int32
        assert depth.dtype == np.float32
        np.testing.assert_array_equal(mask == 0, depth == np.float32(WALL))
        nearest = scenes.things(image_id)[-1]
        inside = silhouette(nearest)
        assert (mask[inside] == nearest.shape + 1).all()
        assert (depth[inside] == np.float32(nearest.distance)).all()
        assert nearest.shape == dataset.labels[row]


def test_apparent_size_is_size_over_distance():
    areas = [
        silhouette(Thing(0, distance, 0.4, SIDE / 2, SIDE / 2, 0.3)).sum() for distance in (2, 4)
    ]
    assert areas[0] == pytest.approx(np.pi * (0.4 * FOCAL / 2) ** 2, rel=0.01)
    assert areas[0] / areas[1] == pytest.approx(4, rel=0.03)


def test_transform_is_followed_pixel_by_pixel():
    transform = Transform(height=4, width=4, resize_ratio=1.5)  # 12 x 12 to 6 x 6, centre 4 x 4
    index = source_pixels(transform, 12, 12)
    rows, cols = np.divmod(index, 12)
    # Each seen pixel is one of the four original pixels under it.
    np.testing.assert_array_equal(rows // 2, np.repeat([[1], [2], [3], [4]], 4, 1))
    np.testing.assert_array_equal(cols // 2, np.repeat([[1, 2, 3, 4]], 4, 0))


def test_identity_transform_returns_the_map():
    transform = Transform(height=6, width=6)
    maps = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    seen = AlignedMaps(lambda row: maps[row], 1, transform, np.nan)
    np.testing.assert_array_equal(seen[0], maps[0])


def test_maps_are_read_when_asked_for_whatever_their_shape():
    asked = []

    def read(row):
        asked.append(row)
        return np.full((6 + 2 * (row % 2), 6), row, np.int32)

    maps = AlignedMaps(read, 4, Transform(height=6, width=6), -1)
    assert (len(maps), asked) == (4, [])
    for row in (2, 3, 0):
        np.testing.assert_array_equal(maps[row], np.full((6, 6), row))
    assert asked == [2, 3, 0]
