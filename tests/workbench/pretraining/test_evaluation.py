"""Votes of neighbours, and classes by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feature_store import InputError
from workbench.datasets import Dataset
from workbench.pretraining.evaluation import drawn, knn_accuracy, matched


def dataset(name, labels, names):
    return Dataset(
        name=name, image_ids=[str(k) for k in range(len(labels))],
        labels=np.array(labels, np.int32), label_names=names, reader=lambda image_id: b"",
    )  # fmt: skip


def test_labels_are_matched_by_the_names_of_classes():
    train = dataset("train", [0, 1, 2], ["a", "b", "c"])
    assert matched(train, dataset("val", [0, 1, 2, 0], ["c", "a", "b"])).tolist() == [2, 0, 1, 2]
    with pytest.raises(InputError, match="val has no image of c"):
        matched(train, dataset("val", [0, 1], ["a", "b"]))
    with pytest.raises(InputError, match="val has images of d"):
        matched(train, dataset("val", [0, 1, 2, 3], ["a", "b", "c", "d"]))
    with pytest.raises(InputError, match="1 of 4 images of val have no label"):
        matched(train, dataset("val", [0, 1, 2, -1], ["c", "a", "b"]))


def test_neighbours_vote():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    bank = rng.normal(size=(60, 4)) + 5 * labels[:, None] * np.array([1, 0, 0, 0])
    assert knn_accuracy(bank, labels, bank, labels) > 0.95
    assert knn_accuracy(bank, labels, bank, 1 - labels) < 0.05
    assert math.isnan(knn_accuracy(bank, np.full(60, -1), bank, labels))


def test_a_sample_of_alternating_classes_holds_all_of_them():
    labels = np.arange(80_000) % 5
    assert np.bincount(labels[drawn(len(labels), 500)], minlength=5).min() > 50
