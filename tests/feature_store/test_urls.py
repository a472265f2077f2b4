"""Stores by URL: file:// is the path, archives are read only or refused."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from zarr.storage import ZipStore

import feature_store
from feature_store.errors import StoreError
from feature_store.objects import PARTIAL_SECONDS

SOURCE = "toy:a#b@1"
PLAN = dict(manifest={}, grid=(1, 1), channels=2, dtype="float32")
TOKENS = np.ones((2, 1, 1, 2), np.float32)


@pytest.fixture
def path(tmp_path):
    url = (tmp_path / "a b.zarr").as_uri()
    store = feature_store.create(url, dataset="d", image_ids=["a", "b"])
    store.add_source(SOURCE, **PLAN).commit(0, TOKENS)
    return tmp_path / "a b.zarr"


@pytest.fixture
def archive(path):
    found = path.with_suffix(".zip")
    with zipfile.ZipFile(found, "w") as file:
        for one in path.rglob("*"):
            file.write(one, one.relative_to(path))
    return found


def test_a_file_url_is_the_path(path):
    assert (path / "zarr.json").is_file()
    for place in (path.as_uri(), path):
        np.testing.assert_array_equal(feature_store.open(place).features(SOURCE).values, TOKENS)
    with pytest.raises(StoreError, match="elsewhere"):
        feature_store.open("file://elsewhere/a.zarr")


def test_archives_are_read_and_not_written(archive):
    for place in (f"zip://{archive}", f"zip::file://{archive}", ZipStore(archive)):
        store = feature_store.open(place)
        np.testing.assert_array_equal(store.features(SOURCE).values, TOKENS)
        with pytest.raises(StoreError):
            store.add_source("toy:other#b@1", **PLAN)
    with pytest.raises(StoreError, match=r"none\.zip"):
        feature_store.open(f"zip://{archive.parent}/none.zip")


def test_killed_writes_outside_sources_are_swept(path):
    left = [path / ".zarr.json.x.partial", path / "label" / ".c.0.x.partial"]
    left.append(path / "features" / ".zarr.json.x.partial")
    for file in left:
        file.write_bytes(b"half")
        old = time.time() - PARTIAL_SECONDS - 60
        os.utime(file, (old, old))
    feature_store.open(path).add_source(SOURCE, **PLAN)
    assert not any(map(Path.exists, left))


def test_archives_elsewhere_are_refused():
    with pytest.raises(StoreError, match="zip:///FILE"):
        feature_store.open("zip::s3://bucket/a.zip")
