"""Test images with the pixels of training images are named, counted and left out."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import dense_probe, few_shot, hard_examples, memorization, probe, reconstruction
from analyses.dense_probe import DenseConfig
from analyses.few_shot import FewShotConfig
from analyses.hard_examples import HardConfig
from analyses.memorization import MemorizationConfig
from analyses.probe import ProbeConfig
from analyses.reading.splits import held_out, image_notes
from analyses.reconstruction import ReconstructionConfig
from feature_store import InputError

SMALL, LARGE = "a#f@1", "b#f@1"
SOURCES = [SMALL, "a#f@2", LARGE]
SHARED = [3, 17, 18]
"""Test images whose pixels are in the training set."""


def prints(start, count):
    return [f"{start + n:016x}" for n in range(count)]


@pytest.fixture
def stores(make_store):
    """Train, test, and the test images that training lacks."""
    rng = np.random.default_rng(0)

    def arrays(count):
        labels = np.arange(count) % 2
        clean = 2 * np.eye(2, 6)[labels][:, None, None] + np.zeros((count, 2, 2, 6))
        return {s: (clean + rng.normal(size=clean.shape)).astype("f4") for s in SOURCES}, labels

    def store(name, found, labels, seen):
        return make_store(
            name, found, labels=labels, label_names=["x", "y"], fingerprints=seen, shard_images=8
        )

    train, labels = arrays(40)
    seen = prints(1, 40)
    seen[5] = seen[7] = seen[2]
    stores = [store("train", train, labels, seen)]
    test, labels = arrays(30)
    unseen = prints(1000, 30)
    for place, row in enumerate(SHARED):
        unseen[row] = seen[10 + place]
    stores.append(store("test", test, labels, unseen))
    kept = np.delete(np.arange(30), SHARED)
    rest = {name: array[kept] for name, array in test.items()}
    return [*stores, store("rest", rest, labels[kept], [unseen[k] for k in kept])]


REPORT = {
    "shared": [[f"test/{row:05d}", f"train/{10 + n:05d}"] for n, row in enumerate(SHARED)],
    "left_out": True,
    "repeated": [["train/00002", "train/00005", "train/00007"]],
}


def test_shared_and_repeated_images_are_named_and_counted(stores):
    train, test, rest = stores
    found = held_out(train, test)
    assert np.flatnonzero(found.left_out).tolist() == SHARED
    assert found.report() == REPORT
    first, second = image_notes(REPORT)
    assert "3 test image" in first
    assert "test/00003 = train/00010" in first
    assert "2 training image" in second
    assert "train/00002 = train/00005 = train/00007" in second
    assert not held_out(train, test, keep_shared=True).left_out.any()
    assert held_out(train, test, keep_shared=True).shared == found.shared
    assert held_out(train, rest).shared == []


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ("bundled:textiles:train", "bundled:photos:test", True),
        ("bundled:textiles:train", "view:1:bundled:textiles:test", False),
        ("folder:/data/cats/train", "folder:/data/cats/test", False),
        ("folder:/data/cats/train", "csv:/data/dogs/test.csv", True),
        ("hf:cifar10:train", "hf:cifar100:test", True),
        ("toy:train", "toy:test", False),
    ],
)
def test_different_datasets_are_both_named(make_store, monkeypatch, first, second, apart):
    x = np.ones((2, 1, 1, 2), np.float32)
    stores = [make_store(n, {SMALL: x}, fingerprints=prints(k, 2)) for k, n in ((5, "a"), (9, "b"))]
    for store, name in zip(stores, (first, second), strict=True):
        store.attrs["dataset"] = name
    report = held_out(*stores).report()
    assert report.get("datasets", []) == ([first, second] if apart else [])
    said = " ".join(image_notes(report))
    assert (first in said and second in said) == apart


def test_unknown_fingerprints_are_equal_to_nothing(make_store):
    x = np.ones((2, 1, 1, 2), np.float32)
    one, other = (make_store(n, {SMALL: x}, fingerprints=["", ""]) for n in ("one", "other"))
    assert held_out(one, other).report() == {"shared": [], "left_out": False, "repeated": []}
    assert image_notes(held_out(one, other).report()) == []


def test_a_test_set_that_is_all_in_training_is_refused(make_store):
    x = np.ones((2, 1, 1, 2), np.float32)
    train, test = (make_store(n, {SMALL: x}, fingerprints=prints(5, 2)) for n in ("one", "two"))
    with pytest.raises(InputError, match=r"all 2 .*'two/00000'.*--keep-shared"):
        held_out(train, test)


def targets(store):
    return [np.eye(2, dtype=int) for _ in range(len(store))]


def of_probe(train, test, keep):
    config = ProbeConfig(l2=0.1, keep_shared=keep)
    return probe.compute(train, test, sources=SOURCES, config=config), "test_loss"


def of_few_shot(train, test, keep):
    config = FewShotConfig(shots=(2,), repeats=3, keep_shared=keep)
    return few_shot.compute(train, test, sources=SOURCES, config=config), "test_accuracy"


def of_dense(train, test, keep):
    config = DenseConfig(l2=0.1, resamples=2, keep_shared=keep)
    maps = (targets(train), targets(test))
    table = dense_probe.compute(train, test, sources=SOURCES, targets=maps, config=config)
    return table, "test_images"


def of_reconstruction(train, test, keep):
    config = ReconstructionConfig(resamples=2, keep_shared=keep)
    return (
        reconstruction.compute(train, test, target=LARGE, sources=[SMALL], config=config),
        "test_loss",
    )


def of_hard_examples(train, test, keep):
    config = HardConfig(probe=ProbeConfig(l2=0.1, keep_shared=keep), count=30, margin=9.0)
    table = hard_examples.compute(train, test, sources=[SMALL, "a#f@1+2", LARGE], config=config)
    return table, "drop"


@pytest.mark.parametrize(
    "analysis", [of_probe, of_few_shot, of_dense, of_reconstruction, of_hard_examples]
)
def test_every_analysis_leaves_shared_images_out(stores, analysis):
    train, test, rest = stores
    found, figure = analysis(train, test, False)
    expected, _ = analysis(train, rest, False)
    np.testing.assert_allclose(found[figure], expected[figure], rtol=1e-6)
    assert found.attrs["shared_images"] == REPORT
    assert expected.attrs["shared_images"]["shared"] == []
    kept, _ = analysis(train, test, True)
    assert kept.attrs["shared_images"] == REPORT | {"left_out": False}
    assert list(kept[figure]) != list(found[figure])


def test_memorization_lists_images_that_repeat(stores):
    config = MemorizationConfig(epochs=1)
    table = memorization.compute(stores[:1], sources=[SMALL], config=config)
    assert table.attrs["shared_images"] == {"repeated": REPORT["repeated"]}
