"""bundled:textiles: a fixed, stratified split, and prefixes that are fair samples."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from workbench import datasets


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
