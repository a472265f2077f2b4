"""bundled:photos: a split by photograph, and crops inside their photograph."""

from __future__ import annotations

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.bundled import photos


def digest(ids):
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def test_photos_split_by_photograph():
    pytest.importorskip("skimage")
    train, test = (datasets.open(f"bundled:photos:{s}") for s in ("train", "test"))

    def photographs(dataset):
        return {i.split("@")[0].split(".")[0].split("_left")[0].split("_right")[0]
                for i in dataset.image_ids}  # fmt: skip

    assert not photographs(train) & photographs(test)
    assert len(photographs(train)) == 15
    assert len(photographs(test)) == 5
    assert set(train.labels) == {-1}
    assert digest(train.image_ids) == "51d657ea31d4db63"
    image = pickle.loads(pickle.dumps(test)).image(0)
    assert image.shape[0] == image.shape[1] >= 160


def test_damaged_packages_are_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "package_folder", lambda *_: str(tmp_path))
    remedy = "lack astronaut.png.*--force-reinstall.* scikit-image scikit-learn'"
    with pytest.raises(InputError, match=remedy):
        datasets.open("bundled:photos")


@given(st.integers(160, 2000), st.integers(160, 2000))
def test_photo_grid_stays_inside_and_reaches_the_edges(width, height):
    boxes = photos.grid(width, height)
    assert 1 <= len(boxes) <= 64
    assert len(set(boxes)) == len(boxes)
    for top, left, side in boxes:
        assert side >= 160
        assert top >= 0
        assert left >= 0
        assert top + side <= height
        assert left + side <= width
    if len({top for top, _, _ in boxes}) > 1:
        assert max(top + side for top, _, side in boxes) == height
