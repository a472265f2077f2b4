"""Whole objects by key on a local disk: temporary files and who may remove them."""

from __future__ import annotations

import os
import time

import numpy as np

import feature_store
from feature_store.objects import PARTIAL_SECONDS, LocalObjects, connect


def test_a_folder_in_the_place_of_an_object_makes_room(tmp_path):
    objects = LocalObjects(tmp_path)
    for key in ("a/put.json", "a/deleted.json"):
        (tmp_path / key).mkdir(parents=True)
        (tmp_path / key / "kept").touch()
    objects.put("a/put.json", b"1")
    objects.delete("a/deleted.json")
    assert objects.get("a/put.json") == b"1"
    assert objects.names("a") == ["put.json"]
    assert len(list(tmp_path.glob("a/.*.partial/kept"))) == 2


def test_only_what_a_killed_write_left_is_swept(tmp_path):
    store = feature_store.create(tmp_path / "s", dataset="d", image_ids=["a"])
    plan = dict(manifest={}, grid=(1, 1), channels=1)
    store.add_source("toy:a#b@1", **plan).commit(0, np.ones((1, 1, 1, 1), np.float32))
    tokens = tmp_path / "s" / store.source("toy:a#b@1").group / "tokens"
    dead, alive = tokens / ".c.0.0.0.0.dead.partial", tokens / ".commits" / ".1.live.partial"
    dead.write_bytes(b"half")
    alive.write_bytes(b"half")
    long_ago = time.time() - PARTIAL_SECONDS - 60
    os.utime(dead, (long_ago, long_ago))
    feature_store.open(tmp_path / "s")
    assert dead.exists()  # opening writes nothing
    feature_store.open(tmp_path / "s").add_source("toy:a#b@1", **plan)
    assert not dead.exists()
    assert alive.exists()
    assert store.features("toy:a#b@1").values.item() == 1


def test_many_objects_at_once_are_those_that_can_be_read(tmp_path):
    found = connect(tmp_path)
    found.put("a", b"1")
    (tmp_path / "folder").mkdir()
    assert list(found.get_each(["a", "folder", "absent", "a"])) == [b"1", None, None, b"1"]
