"""view:K:NAME: the same ids and labels, other pixels, fixed by K and the id."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.views import crop_box


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(3):
        (tmp_path / str(n % 2)).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / str(n % 2) / f"{n}.png")
    return tmp_path


def test_views_differ_from_each_other_and_repeat_themselves(folder):
    below = datasets.open(f"folder:{folder}")
    one, again, two = (datasets.open(f"view:{k}:folder:{folder}") for k in (1, 1, 2))
    assert one.image_ids == below.image_ids
    assert one.labels.tolist() == below.labels.tolist()
    assert one.name == f"view:1:folder:{folder}"
    np.testing.assert_array_equal(one.image(0), pickle.loads(pickle.dumps(again)).image(0))
    assert one.image(0).shape != two.image(0).shape or (one.image(0) != two.image(0)).any()


def test_pixels_are_a_crop_possibly_mirrored(folder):
    whole = datasets.open(f"folder:{folder}").image(1)
    for k in range(1, 9):
        part = datasets.open(f"view:{k}:folder:{folder}").image(1)
        windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)[:, :, 0]
        found = (windows == part).all((2, 3, 4)) | (windows == part[:, ::-1]).all((2, 3, 4))
        assert found.any()


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 2**32))
def test_box_lies_inside(width, height, seed):
    left, top, w, h = crop_box(width, height, np.random.default_rng(seed))
    assert min(w, h) >= 1
    assert min(left, top) >= 0
    assert left + w <= width
    assert top + h <= height


@pytest.mark.parametrize("name", ["view:bundled:textiles", "view:0:bundled:textiles", "view:1"])
def test_refusals(name):
    with pytest.raises(InputError, match="write view:K:NAME"):
        datasets.open(name)


def test_damaged_image_stays_a_decode_error(folder):
    (folder / "0" / "0.png").write_bytes(b"")
    with pytest.raises(datasets.DecodeError, match="zero bytes"):
        datasets.open(f"view:1:folder:{folder}").image(0)
