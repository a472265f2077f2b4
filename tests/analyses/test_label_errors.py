"""Planted copies and swapped labels are found in both splits."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import label_errors
from feature_store import InputError

SOURCE = "toy:a#b@224"


def stores(make_store, labels_test=None):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = 3 * np.eye(3, 6)[labels] + 0.3 * rng.normal(size=(60, 6))
    y = 3 * np.eye(3, 6)[labels[:30]] + 0.3 * rng.normal(size=(30, 6))
    y[4] = 1.001 * x[7]  # a copy of training image 7, of its class
    wrong = labels.copy()
    wrong[10] = (labels[10] + 1) % 3
    test = labels[:30].copy()
    test[20] = (labels[20] + 1) % 3
    order = np.array([2, 0, 1])  # the test store numbers its classes otherwise
    return (
        make_store("train", {SOURCE: x[:, None, None]}, labels=wrong, label_names=list("abc")),
        make_store(
            "test",
            {SOURCE: y[:, None, None]},
            labels=order[test] if labels_test is None else labels_test,
            label_names=["b", "c", "a"],
        ),
    )


def test_copies_and_swapped_labels_are_found_across_splits(make_store):
    found = label_errors.find(*stores(make_store), source=SOURCE, threshold=0.9999)
    assert found.duplicates[["test", "train"]].values.tolist() == [["test/00004", "train/00007"]]
    first = found.label_errors.set_index("image_id")
    assert set(first.index) == {"train/00010", "test/00020"}
    assert first.loc["train/00010"].tolist()[:3] == ["train", "c", "b"]
    assert first.loc["test/00020"].tolist()[:3] == ["test", "a", "c"]
    assert (first["share"] > 0.5).all()


def test_a_class_that_training_lacks_is_named(make_store):
    train, test = stores(make_store)
    names = ["b", "c", "d"]
    other = make_store(
        "other", {SOURCE: test.features(SOURCE).values}, labels=test.labels, label_names=names
    )
    found = label_errors.find(train, other, source=SOURCE)
    assert found.unseen_classes == {"d": int((test.labels == 2).sum())}
    assert "d" not in set(found.label_errors["label"])


def test_store_without_labels_is_refused(make_store):
    train, test = stores(make_store, labels_test=np.full(30, -1))
    with pytest.raises(InputError, match="no labels.*reconstruct, similarity, memorize"):
        label_errors.find(train, test, source=SOURCE)
