"""Fixtures shared by all rooms: small real stores on disk."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from feature_store.writer import ShardImages


@pytest.fixture
def make_store(tmp_path):
    """Write arrays (image, row, col, channel) as single-scale sources of a new store."""

    def make(
        name,
        arrays,
        *,
        labels=None,
        label_names=(),
        shard_images=16,
        dtype="float32",
        prefix=None,
        ids=None,
        failed=None,
        fingerprints=None,
        dataset=None,
    ):
        count = len(next(iter(arrays.values())))
        ids = [f"{name}/{i:05d}" for i in range(count)] if ids is None else ids
        store = feature_store.create(
            tmp_path / name,
            dataset=dataset or f"toy:{name}",
            image_ids=ids,
            labels=labels,
            label_names=label_names,
            shard_images=shard_images,
        )
        for source, array in arrays.items():
            first = (prefix or {}).get(source)
            writer = store.add_source(
                source,
                manifest={"model": source},
                grid=array.shape[1:3],
                channels=array.shape[3],
                prefix=0 if first is None else first.shape[1],
                dtype=dtype,
            )
            for shard in writer.missing():
                rows = writer.rows(shard)
                part = slice(rows.start, rows.stop)
                writer.commit(
                    shard,
                    np.asarray(array[part], np.float32),
                    None if first is None else np.asarray(first[part], np.float32),
                    {row: why for row, why in (failed or {}).items() if row in rows},
                    images=ShardImages(fingerprints=fingerprints[part]) if fingerprints else None,
                )
        return feature_store.open(tmp_path / name)

    return make
