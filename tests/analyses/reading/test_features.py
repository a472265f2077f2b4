"""Analyses take sources of which only some token positions are kept."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from analyses import probe, reconstruction


@pytest.fixture
def stores(tmp_path):
    """Two sources of 4x4 maps, 8 positions kept; the second is a noisy linear map of the first."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((6, 5))
    found = []
    for split, images in (("train", 80), ("test", 40)):
        labels = np.arange(images) % 2
        x = rng.standard_normal((images, 4, 4, 6))
        x[..., 0] += 2 * labels[:, None, None]
        y = x @ weights + 0.1 * rng.standard_normal((images, 4, 4, 5))
        store = feature_store.create(
            tmp_path / split,
            dataset=split,
            image_ids=[f"{split}{k}" for k in range(images)],
            labels=labels,
            label_names=["a", "b"],
            shard_images=16,
        )
        for name, maps in (("toy:x#b@224.t8", x), ("toy:y#b@224.t8", y)):
            writer = store.add_source(
                name, manifest={}, grid=(4, 4), channels=maps.shape[-1], dtype="float32", keep=8
            )
            for shard in writer.missing():
                rows = writer.todo(shard)
                writer.commit(shard, maps[rows.start : rows.stop].astype(np.float32))
        found.append(feature_store.open(store.path))
    return found


def test_reconstruction_pairs_the_kept_positions(stores):
    """Noise of variance 0.01 is what remains; wrong pairs would leave the whole variance."""
    (row,) = reconstruction.rows(
        reconstruction.compute(*stores, target="toy:y@224.t8", sources=["toy:x@224.t8"])
    ).to_dict("records")
    assert row["test_loss"] == pytest.approx(0.01, rel=0.1)


def test_probe_averages_the_kept_positions(stores):
    (row,) = probe.compute(*stores, sources=["toy:x@224.t8"]).to_dict("records")
    assert row["test_accuracy"] == 1
