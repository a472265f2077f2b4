"""Images take the class of the nearest text; scales are averaged as unit vectors."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import zero_shot
from feature_store import InputError

ONE, TWO = "toy:a#proj@32", "toy:a#proj@64"


def store_of(make_store, scales, labels, prefix=False):
    """Vectors of images, in the class token or as the only token of a map."""
    arrays = {name: values[:, None, None] for name, values in scales.items()}
    first = {name: values[:, None] for name, values in scales.items()} if prefix else None
    if prefix:
        arrays = {name: -5 * values for name, values in arrays.items()}
    return make_store("s", arrays, labels=labels, label_names=["cat", "dog"], prefix=first)


@pytest.mark.parametrize("prefix", [False, True])
def test_accuracy_by_hand(make_store, prefix):
    vectors = np.array([[2, 0.1], [0.2, 9], [3, 1], [0, 1]], np.float32)
    labels = np.array([0, 1, 1, -1], np.int32)
    store = store_of(make_store, {ONE: vectors}, labels, prefix)
    table = zero_shot.compute(store, sources=ONE, classes={ONE: np.eye(2)})
    row = table.iloc[0]
    assert row["test_accuracy"] == pytest.approx(2 / 3)
    assert (row["test_images"], row["classes"], row["channels"]) == (3, 2, 2)
    assert row["low"] < 2 / 3 < row["high"]
    assert len(table.attrs["resampled"][ONE]) == 1000
    swapped = zero_shot.compute(store, sources=ONE, classes={ONE: np.eye(2)[::-1]})
    assert swapped["test_accuracy"][0] == pytest.approx(1 / 3)


def test_a_large_vector_at_one_scale_does_not_outvote_the_other(make_store):
    """Unit vectors (1, 0) and (0.6, 0.8) sum to class 0; raw ones would to class 1."""
    scales = {ONE: np.float32([[1, 0]]), TWO: np.float32([[60, 80]])}
    store = store_of(make_store, scales, np.zeros(1, np.int32))
    both = f"{ONE}+64"
    table = zero_shot.compute(store, sources=[both, TWO], classes={both: np.eye(2), TWO: np.eye(2)})
    assert table["test_accuracy"].tolist() == [1, 0]


def test_texts_of_another_width_and_images_without_labels_are_refused(make_store):
    store = store_of(make_store, {ONE: np.ones((2, 2), np.float32)}, np.zeros(2, np.int32))
    with pytest.raises(InputError, match=r"2 channels and .* 2 classes; the texts are \(2, 3\)"):
        zero_shot.compute(store, sources=ONE, classes={ONE: np.ones((2, 3))})
    store = make_store("u", {ONE: np.ones((2, 1, 1, 2), np.float32)})
    with pytest.raises(InputError, match="has no labels"):
        zero_shot.compute(store, sources=ONE, classes={ONE: np.ones((0, 2))})
