"""Stores of protocol version 1: readable as they are, and completed without a change of data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import feature_store
from feature_store import protocol
from feature_store.errors import StoreError
from feature_store.upgrade import upgrade
from feature_store.verify import verify

OLD = Path(__file__).parents[1] / "data" / "half_filled.zarr"
"""Written by code of version 1: two sources, the last of 3 shards missing."""


@pytest.fixture
def store(tmp_path):
    return feature_store.open(shutil.copytree(OLD, tmp_path / "old.zarr"))


def values(store):
    found = [store.features(name, allow_incomplete=True).values for name in store.sources()]
    return np.stack(found)


def contents(store):
    return {p.relative_to(store.path): p.read_bytes() for p in Path(store.path).rglob("c.*")}


def kinds(store):
    return [(p.where, p.shard, p.kind) for p in verify(feature_store.open(store.path)).problems]


def test_version_1_is_read_and_not_written(store):
    assert store.version == 1
    assert store.label_names == ["global", "local", "nominal"]
    assert np.isfinite(values(store)[:, :4]).all()
    assert store.status.tolist() == ["ok"] * 4 + ["pending"] * 2
    with pytest.raises(StoreError, match="version 1.*workbench upgrade"):
        store.add_source("toy:a#b@1", manifest={}, grid=(1, 1), channels=1)


def test_upgrade_keeps_identities_and_data(store):
    before, data, problems = values(store), contents(store), kinds(store)
    identities = [store.source(name).identity for name in store.sources()]
    now = upgrade(store)
    assert (now.version, now.dataset) == (2, store.dataset)
    assert [now.source(name).identity for name in now.sources()] == identities
    np.testing.assert_array_equal(values(now), before)
    after = contents(now)
    assert {k: v for k, v in after.items() if k.parts[0] == "features"} == {
        k: v for k, v in data.items() if k.parts[0] == "features"
    }
    assert kinds(now) == problems
    record = now.source(now.sources()[0]).whole_record(1)
    assert record.fingerprints == ["", ""]
    assert record.image_ids_sha256 == protocol.ids_sha256(now.image_ids[2:4])


def test_an_interrupted_upgrade_is_repeated(store, monkeypatch):
    put, count = store.objects.put, iter(range(5))

    def killed(key, data):
        if next(count, None) is None:
            raise KeyboardInterrupt
        put(key, data)

    monkeypatch.setattr(store.objects, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        upgrade(store)
    half = feature_store.open(store.path)
    assert half.version == 1
    np.testing.assert_array_equal(values(half), values(feature_store.open(OLD)))
    assert upgrade(half).version == 2


def test_damaged_ids_are_not_sealed(store):
    path = Path(store.path) / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["image_ids_sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="image_id is damaged"):
        upgrade(feature_store.open(store.path))
    assert feature_store.open(store.path).version == 1
