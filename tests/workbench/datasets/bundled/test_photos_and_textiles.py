"""bundled:NAME: fixed ids, fixed splits, fair prefixes; the packages are optional extras."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.base import balanced_order, hash_key, hash_split
from workbench.datasets.bundled import photos


def digest(ids):
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def test_textiles_split_is_fixed_stratified_and_disjoint():
    pytest.importorskip("conformal_clip_data")
    everything = datasets.open("bundled:textiles")
    train, test = (datasets.open(f"bundled:textiles:{s}") for s in ("train", "test"))
    assert (len(train), len(test)) == (1500, 500)
    assert sorted(train.image_ids + test.image_ids) == sorted(everything.image_ids)
    assert np.bincount(train.labels).tolist() == [375, 375, 750]
    assert np.bincount(test.labels).tolist() == [125, 125, 250]
    # The split and the order are published with every result: they may never change.
    assert digest(train.image_ids) == "44bc99351fa877e4"
    assert digest(test.image_ids) == "c6a69814f7d25582"


def test_textiles_prefix_is_a_fair_sample():
    pytest.importorskip("conformal_clip_data")
    prefix = datasets.open("bundled:textiles:train", limit=200)
    assert np.abs(np.bincount(prefix.labels) - [50, 50, 100]).max() <= 1
    assert prefix.image(0).shape == (250, 250, 3)
    names = [prefix.label_names[n] for n in prefix.labels]
    assert all(i.startswith(f"{n}/") for i, n in zip(prefix.image_ids, names, strict=True))


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


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 40), min_size=1, max_size=5))
def test_every_prefix_of_the_balanced_order_is_fair(sizes):
    groups = {g: [f"{g}/{n}" for n in range(size)] for g, size in sizes.items()}
    order = balanced_order(groups)
    assert len(order) == sum(sizes.values())
    for length in range(1, len(order) + 1):
        for group, size in sizes.items():
            held = sum(g == group for g, _ in order[:length])
            # Each group is off by at most half an image; those of the others add up.
            assert abs(held - length * size / len(order)) <= 1 + len(sizes) / 2


def test_hash_does_not_depend_on_the_process():
    assert hash_key("nominal/textile_0001.jpg") == 9470915252892919924
    assert hash_split(["b", "a", "c", "d"], None) == hash_split(["d", "c", "b", "a"], None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bundled:textile", "did you mean bundled:textiles"),
        ("bundled:", "there are: bundled:textiles"),
        ("bundled:textiles:val", "no split 'val'.*bundled:textiles:train"),
        ("bundled:photos:all", "no split 'all'"),
        ("nonsense", "write one of: folder:DIR, csv:FILE"),
        ("foldr:x", r"did you mean folder:x\?"),
    ],
)
def test_unknown_names_list_the_valid_ones(name, message):
    with pytest.raises(InputError, match=message):
        datasets.open(name)


def test_existing_folder_without_its_prefix_is_recognised(tmp_path):
    with pytest.raises(InputError, match="a folder of that name exists: folder:"):
        datasets.open(str(tmp_path))


@pytest.mark.parametrize("name", ["bundled:textiles", "bundled:photos"])
def test_missing_package_is_named(name, monkeypatch):
    monkeypatch.setattr("workbench.datasets.bundled.textiles.find_spec", lambda _: None)
    monkeypatch.setattr("workbench.datasets.bundled.photos.find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the package .*pip install"):
        datasets.open(name)
