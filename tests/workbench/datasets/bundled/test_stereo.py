"""bundled:stereo: depth by hand, the left view's own disparity, halves without a common pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.bundled import photos
from workbench.datasets.bundled.stereo import BASELINE, FOCAL, MIDDLE, OFFSET, SIDE

pytest.importorskip("skimage")


def test_halves_share_no_pixel():
    train, test = (datasets.open(f"bundled:stereo:{s}") for s in ("train", "test"))
    assert (len(train), len(test), len(datasets.open("bundled:stereo"))) == (77, 77, 154)
    ends = [int(i.split(",")[1]) + SIDE for i in train.image_ids]
    starts = [int(i.split(",")[1]) for i in test.image_ids]
    assert max(ends) <= MIDDLE <= min(starts)
    assert train.image(0).shape == (SIDE, SIDE, 3)
    assert train.depth(0).shape == (SIDE, SIDE)
    assert train.depth(0).dtype == np.float32


def test_depth_is_metres_of_the_left_view():
    folder = Path(photos.package_folder("skimage", "data"))
    disparity = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    left, right = (
        np.asarray(Image.open(folder / f"motorcycle_{side}.png").convert("L"), float)
        for side in ("left", "right")
    )
    row, col = np.mgrid[: left.shape[0], : left.shape[1]]
    there = (col - np.where(np.isfinite(disparity), disparity, 1e9)).round()
    seen = there >= 0
    matched = right[row[seen], there[seen].astype(int)]
    assert np.corrcoef(left[seen], matched)[0, 1] > 0.9  # the disparity belongs to the left view
    dataset = datasets.open("bundled:stereo:train")
    top, first = map(int, dataset.image_ids[5].split(","))
    under = disparity[top : top + SIDE, first : first + SIDE]
    np.testing.assert_array_equal(np.isnan(dataset.depth(5)), ~np.isfinite(under))
    known = np.isfinite(under)
    depth = dataset.depth(5)[known]
    np.testing.assert_allclose(depth, FOCAL * BASELINE / (under[known] + OFFSET), rtol=1e-6)
    assert 2 < depth.min() < depth.max() < 5.1  # a motorcycle in a workshop


def test_no_labels_and_unknown_split():
    assert (datasets.open("bundled:stereo").labels == -1).all()
    with pytest.raises(InputError, match="no split 'val'"):
        datasets.open("bundled:stereo:val")
