"""A dataset that gained images extends its store; anything else is refused with a difference."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from feature_store.errors import StoreError
from feature_store.growth import reconcile

PLAN = dict(manifest={}, grid=(1, 1), channels=2, dtype="float16")


def filled(path, ids, labels=None, names=()):
    store = feature_store.create(
        path, dataset="d", image_ids=ids, labels=labels, label_names=names, shard_images=3
    )
    fill(store, computed=[])
    return feature_store.open(path)


def fill(store, computed):
    writer = store.add_source("toy:a#blocks@224", **PLAN)
    for shard in writer.missing():
        rows = writer.todo(shard)
        computed += [store.image_ids[r] for r in rows]
        values = np.array([value_of(store.image_ids[r]) for r in rows], np.float32)
        writer.commit(shard, values)


def value_of(image_id):
    return np.full((1, 1, 2), ord(image_id) + 0.1)


def test_new_images_get_new_rows_and_only_those_are_computed(tmp_path):
    store = filled(tmp_path / "s", list("bdfh"))
    grown = reconcile(store, list("abcdefgh"), None, [])
    assert "".join(grown.image_ids) == "bdfhaceg"
    with pytest.raises(StoreError, match="2 of 3 shards"):
        grown.features("toy:a@224")
    computed: list[str] = []
    fill(grown, computed)
    assert "".join(computed) == "aceg"
    found = feature_store.open(tmp_path / "s").features("toy:a@224").values
    expected = np.array([value_of(i) for i in "bdfhaceg"]).astype(np.float16)
    np.testing.assert_array_equal(found, expected)


def test_the_same_images_change_nothing(tmp_path):
    store = filled(tmp_path / "s", list("abcd"))
    assert reconcile(store, list("abcd"), None, []) is store


def test_removed_images_are_refused(tmp_path):
    store = filled(tmp_path / "s", list("abcd"))
    with pytest.raises(StoreError, match=r" 1 image.*\(b\)"):
        reconcile(store, list("acd"), None, [])


def test_a_grown_store_is_opened_again_and_grows_again(tmp_path):
    filled(tmp_path / "s", list("bdf"), [0, 1, 1], ["bee", "dog"])
    path = tmp_path / "s"
    steps = [("abdf", "bdfa"), ("abdf", "bdfa"), ("fdab", "bdfa"), ("abcdf", "bdfac")]
    names = ["ant", "bee", "dog"]  # the new class sorts before those stored
    label = {"a": 0, "b": 1, "c": 0, "d": 2, "f": 2}
    for ids, rows in steps:
        store = reconcile(feature_store.open(path), list(ids), [label[i] for i in ids], names)
        fill(store, computed=[])
        assert "".join(store.image_ids) == rows
        assert [store.label_names[n] for n in store.labels] == [names[label[i]] for i in rows]
        expected = np.array([value_of(i) for i in rows]).astype(np.float16)
        np.testing.assert_array_equal(store.features("toy:a@224").values, expected)


def test_a_new_class_in_the_middle_keeps_stored_numbers(tmp_path):
    store = filled(tmp_path / "s", list("ac"), [0, 1], ["ant", "cat"])
    grown = reconcile(store, list("abc"), [0, 1, 2], ["ant", "bee", "cat"])
    assert grown.label_names == ["ant", "cat", "bee"]
    assert grown.labels.tolist() == [0, 1, 2]


def test_changed_labels_are_refused(tmp_path):
    store = filled(tmp_path / "s", list("ac"), [0, 1], ["ant", "cat"])
    with pytest.raises(StoreError, match=r"labels of 1 .*\(c\)"):
        reconcile(store, list("ac"), [0, 0], ["ant", "cat"])


def test_damaged_ids_are_restored_from_the_dataset(tmp_path):
    store = filled(tmp_path / "s", list("abcd"))
    next((tmp_path / "s" / "image_id").glob("c.*")).write_bytes(b"junk")
    restored = reconcile(feature_store.open(tmp_path / "s"), list("abcd"), None, [])
    assert "".join(restored.image_ids) == "abcd"
    assert store.features("toy:a@224").shape == (4, 1, 1, 2)


def test_a_handle_from_before_the_growth_cannot_undo_it(tmp_path):
    old = filled(tmp_path / "s", list("abcd"))
    before = old.add_source("toy:a#blocks@224", **PLAN)
    fill(reconcile(feature_store.open(tmp_path / "s"), list("abcde"), None, []), computed=[])
    assert before.missing() == []
    with pytest.raises(StoreError, match="4 to 5 images"):
        before.commit(1, np.ones((1, 1, 1, 2), np.float32))
    assert old.features("toy:a@224").shape == (4, 1, 1, 2)
    assert feature_store.open(tmp_path / "s").features("toy:a@224").shape == (5, 1, 1, 2)


def test_a_source_added_by_an_old_handle_has_room_for_all_images(tmp_path):
    old = filled(tmp_path / "s", list("abcd"))
    grown = reconcile(feature_store.open(tmp_path / "s"), list("abcde"), None, [])
    fill(grown, computed=[])
    old.add_source("toy:b#blocks@224", **PLAN)
    writer = feature_store.open(tmp_path / "s").add_source("toy:b#blocks@224", **PLAN)
    for shard in writer.missing():
        writer.commit(shard, np.ones((len(writer.todo(shard)), 1, 1, 2), np.float32))
    assert feature_store.open(tmp_path / "s").features("toy:b@224").shape == (5, 1, 1, 2)


def test_reading_while_arrays_are_longer_than_the_count(tmp_path):
    import zarr

    store = filled(tmp_path / "s", list("abcd"))
    group = zarr.open_group(tmp_path / "s", path=store.source("toy:a@224").group, mode="r+")
    group["tokens"].resize((9, 1, 1, 2))
    assert feature_store.open(tmp_path / "s").features("toy:a@224").values.shape == (4, 1, 1, 2)
