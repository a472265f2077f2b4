"""Seeded shards of a store: a sample that reads little and is the same every day."""

from __future__ import annotations

import numpy as np

from analyses.reading.features import require_maps
from feature_store import FeatureStore


def sampled_shards(store: FeatureStore, source: str, count: int, seed: int = 0) -> list[int]:
    """Numbers of at most `count` shards, ascending, drawn without repetition.

    Raises
    ------
    StoreError
        The source is not stored.
    InputError
        It keeps only some token positions of each image: they make no map.
    """
    (first, *_) = store.resolve(source).singles()
    require_maps(store, source)
    total = store.source(first).shard_count
    drawn = np.random.default_rng(seed).permutation(total)[:count]
    return sorted(int(shard) for shard in drawn)


def sampled_for_images(store: FeatureStore, source: str, images: int, seed: int = 0) -> list[int]:
    """As :func:`sampled_shards`, as many as it takes for about `images` images."""
    return sampled_shards(store, source, max(1, -(-images // store.shard_images)), seed)
