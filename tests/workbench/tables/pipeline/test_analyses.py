"""What measurements note of themselves, on small stores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analyses import dense_probe
from workbench.models import text_tower
from workbench.tables.pipeline import analyses
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.records.measurement import Context

SOURCE = "toy:a#blocks@224"


@pytest.mark.parametrize(
    ("limit", "notes"),
    [
        (2**17, ()),
        (24, ("segmentation head trained on 2 of 4 tokens of each image: a#blocks@224",)),
    ],
)
def test_tokens_that_a_dense_head_leaves_out_are_noted(make_store, monkeypatch, limit, notes):
    classes = np.random.default_rng(0).integers(0, 2, (24, 2, 2))
    tokens = np.stack([classes, 1 - classes], -1).astype(np.float32)
    stores = {
        role: make_store(role, {SOURCE: tokens[rows]})
        for role, rows in (("train", slice(12)), ("test", slice(12, 24)))
    }
    maps = {"toy:train": classes[:12], "toy:test": classes[12:]}
    monkeypatch.setattr(analyses, "targets_for", lambda store, source, task: maps[store.dataset])
    compute = dense_probe.compute

    def limited(*stores, config, **rest):
        return compute(*stores, config=replace(config, train_tokens=limit), **rest)

    monkeypatch.setattr(dense_probe, "compute", limited)
    context = Context(stores=stores, device="cpu", moments=None)
    found = ANALYSES["segmentation"].run(context, [SOURCE], {})
    assert found.notes == notes


def test_zero_shot_needs_test_images_alone(make_store, monkeypatch):
    vectors = np.float32([[2, 1], [1, 2], [3, 0], [0, 3]])[:, None, None]
    store = make_store(
        "test", {SOURCE: vectors}, labels=np.array([0, 1, 1, 1]), label_names=["cat", "dog"]
    )
    asked = []

    def class_vectors(model, names, device):
        asked.append((model, list(names)))
        return np.eye(2)

    monkeypatch.setattr(text_tower, "class_vectors", class_vectors)
    context = Context(stores={"test": store}, device="cpu", moments=None)
    found = ANALYSES["zero_shot"].run(context, [SOURCE], {})
    assert asked == [("toy:a", ["cat", "dog"])]
    value, low, high = found.values[SOURCE]["top1"]
    assert value == 75
    assert low < 75 < high
    assert len(found.resampled[SOURCE]["top1"]) == 1000
    assert found.notes == ()
