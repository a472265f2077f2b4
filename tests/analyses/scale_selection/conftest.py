"""Planted stores: one crop of the larger scale carries the signal, and a base channel marks it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import feature_store
from analyses.reading.grids import average_to

MODEL = "toy:a#t"
BASE, LARGE, POOLED = f"{MODEL}@16", f"{MODEL}@32.unpooled", f"{MODEL}@32"
TARGET = "toy:big#t@16"


def scale_facts(side, crops, *, unpooled=False, whole=False):
    return {
        "height": side, "width": side, "raw": False, "whole": whole, "pad": False,
        "unpooled": unpooled, "base": [16, 16], "crop": [16, 16], "crops": list(crops),
    }  # fmt: skip


def write(path, arrays, *, facts, labels=None, names=(), shard_images=7):
    count = len(next(iter(arrays.values())))
    store = feature_store.create(
        path, dataset=f"toy:{path.name}", image_ids=[f"{path.name}/{i:03d}" for i in range(count)],
        labels=labels, label_names=list(names), shard_images=shard_images,
    )  # fmt: skip
    for name, array in arrays.items():
        manifest = {"model": name} | ({"scale": facts[name]} if name in facts else {})
        writer = store.add_source(
            name, manifest=manifest, grid=array.shape[1:3], channels=array.shape[3],
            dtype="float32",
        )  # fmt: skip
        for shard in writer.missing():
            rows = writer.rows(shard)
            writer.commit(shard, array[rows.start : rows.stop].astype("f4"), None, {})
    return feature_store.open(path)


def planted(rng, count):
    """Maps in which crop `which` alone differs from the base map, and what it tells."""
    which = rng.integers(4, size=count)
    base = rng.normal(size=(count, 4, 4, 3))
    for n, k in enumerate(which):
        row, col = 2 * (k // 2), 2 * (k % 2)
        base[n, row : row + 2, col : col + 2, 0] += 6
    large = base.repeat(2, 1).repeat(2, 2)
    signal = rng.choice([-1, 1], (count, 1, 1)) * rng.uniform(1, 2, (count, 1, 1))
    signal = signal + 0.2 * rng.normal(size=(count, 4, 4))
    for n, k in enumerate(which):
        row, col = 4 * (k // 2), 4 * (k % 2)
        large[n, row : row + 4, col : col + 4, 1] = 6 * signal[n]
    pooled = average_to(large.astype(np.float32), (4, 4))
    target = pooled[..., 1:2] + 0.05 * rng.normal(size=(count, 4, 4, 1))
    labels = (signal.mean((1, 2)) > 0).astype(np.int32)
    return {BASE: base, LARGE: large, POOLED: pooled, TARGET: target}, which, labels


@pytest.fixture(scope="session")
def kit():
    """Names of the planted sources, and what writes other stores."""
    return SimpleNamespace(
        MODEL=MODEL, BASE=BASE, LARGE=LARGE, POOLED=POOLED, TARGET=TARGET, write=write,
        facts=scale_facts,
    )  # fmt: skip


@pytest.fixture(scope="session")
def toys(tmp_path_factory):
    """Training and test stores, and which crop of each test image carries the signal."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("toys")
    facts = {
        BASE: scale_facts(16, (1, 1)),
        LARGE: scale_facts(32, (2, 2), unpooled=True),
        POOLED: scale_facts(32, (2, 2)),
    }
    stores, marks = [], []
    for name, count in (("train", 120), ("test", 60)):
        arrays, which, labels = planted(rng, count)
        path = folder / name
        stores.append(write(path, arrays, facts=facts, labels=labels, names=("low", "high")))
        marks.append(which)
    return SimpleNamespace(train=stores[0], test=stores[1], stores=tuple(stores), which=marks[1])
