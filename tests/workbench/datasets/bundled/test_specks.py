"""bundled:specks: repeatable, balanced, small shapes on photographs of one side of their split."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from workbench import datasets
from workbench.datasets.bundled import specks

pytest.importorskip("skimage")


def test_sides_labels_and_repeatability():
    train, test = (datasets.open(f"bundled:specks:{side}") for side in ("train", "test"))
    assert (len(train), len(test)) == (500_000, 2_000)
    assert not set(train.image_ids) & set(test.image_ids)
    assert np.bincount(train.labels[:100]).tolist() == [20] * 5
    again = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(train.image(3), again.image(3))
    assert train.image(3).shape == (specks.SIDE, specks.SIDE, 3)
    assert len(datasets.open("bundled:specks")) == 502_000


def test_shapes_are_small_and_far_from_what_is_behind_them(monkeypatch):
    """Without shapes, what is left is the photograph: they cover a few per cent of it."""
    with_shapes = specks.render("train-000007").astype(int)
    monkeypatch.setattr(specks, "THINGS", 0)
    changed = np.abs(with_shapes - specks.render("train-000007")).max(-1) > 0
    assert 0.004 < changed.mean() < 6 * np.pi * 1.3 * specks.RADII[1] ** 2 / specks.SIDE**2
