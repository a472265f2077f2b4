"""Metadata that the dataset and the commit records determine are put back; the rest is refused."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from numcodecs.zstd import Zstd

import feature_store
from feature_store.errors import StoreError
from feature_store.restore import restore_root
from feature_store.verify import verify

IDS = list("abcdefg")
LABELS = [0, 1, 0, 1, 0, 1, 0]
SOURCE = "toy:a#blocks@224"
TOKENS = np.random.default_rng(0).standard_normal((7, 1, 2, 3)).astype(np.float32)
FACTS = dict(
    dataset="d",
    dataset_path="",
    image_ids=IDS,
    labels=LABELS,
    label_names=["x", "y"],
    shard_images=3,
)


def write(store, layout="raw", manifest=("m", 1)):
    writer = store.add_source(
        SOURCE, manifest=dict([manifest]), grid=(1, 2), channels=3, dtype="float32", layout=layout
    )
    missing = writer.missing()
    for shard in missing:
        rows = writer.rows(shard)
        writer.commit(shard, TOKENS[rows.start : rows.stop])
    return missing


@pytest.fixture(params=["raw", "packed"])
def layout(request):
    return request.param


@pytest.fixture
def path(tmp_path, layout):
    path = tmp_path / "s"
    write(feature_store.create(path, **FACTS), layout)
    return path


def group(path):
    (found,) = path.glob("features/*/*/*/zarr.json")
    return found


def restore(path, **changes):
    store = FACTS | changes
    try:
        feature_store.open(path)
    except StoreError as error:
        from feature_store.objects import connect

        restore_root(connect(path), str(error), **store)
    return feature_store.open(path)


def assert_whole(path, layout):
    store = feature_store.open(path)
    assert write(store, layout) == []
    assert verify(feature_store.open(path)).problems == []
    np.testing.assert_array_equal(feature_store.open(path).features(SOURCE).values, TOKENS)
    assert store.image_ids.tolist() == IDS
    assert store.labels.tolist() == LABELS


@pytest.mark.parametrize("data", [None, b"", b"\xff\xfe", b"{}", b"[]", b"null"])
@pytest.mark.parametrize("ids", ["there", "gone"])
def test_a_lost_root_is_restored_from_dataset_and_records(path, layout, data, ids):
    before = json.loads((path / "zarr.json").read_text())["attributes"]
    if data is None:
        (path / "zarr.json").unlink()
    else:
        (path / "zarr.json").write_bytes(data)
    if ids == "gone":
        shutil.rmtree(path / "image_id")
    restored = restore(path, shard_images=256)
    assert restored.attrs == before
    assert_whole(path, layout)


def test_a_chunk_that_claims_too_many_ids_is_damaged_before_they_are_allocated(path):
    chunk = path / "image_id" / "c.0"
    ids = bytes(Zstd().decode(chunk.read_bytes()))
    chunk.write_bytes(Zstd().encode((10**6).to_bytes(4, "little") + ids[4:]))
    with pytest.raises(StoreError, match="c.0 claims 1000000 ids, expected 65536"):
        feature_store.open(path).image_ids  # noqa: B018 the read is the check


def test_rows_of_a_grown_store_keep_their_places(path, layout):
    (path / "zarr.json").unlink()
    order = list("zgfedcba")
    labels = [1, *LABELS[::-1]]
    restored = restore(path, image_ids=order, labels=labels)
    assert "".join(restored.image_ids) == "abcdefgz"
    assert restored.labels.tolist() == [*LABELS, 1]


def test_a_dataset_that_is_not_the_store_s_is_refused(path):
    (path / "zarr.json").unlink()
    with pytest.raises(StoreError, match="cannot be restored.*lacks 1 .* g"):
        restore(path, image_ids=IDS[:6], labels=LABELS[:6])
    shutil.rmtree(path / "image_id")
    with pytest.raises(StoreError, match="cannot be restored.*7 images"):
        restore(path, image_ids=IDS[::-1])


def test_a_damaged_root_that_names_another_dataset_is_refused(path):
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["image_count"] = 6
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match="names the dataset 'd'.*view:1:d"):
        restore(path, dataset="view:1:d")
    assert len(restore(path)) == 7


@pytest.mark.parametrize("data", [None, b"\xff", b"{}"])
def test_lost_attributes_of_a_source_are_restored(path, layout, data):
    before = json.loads(group(path).read_text())["attributes"]
    file = group(path)
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        feature_store.open(path).features(SOURCE)
    asked = "packed" if layout == "raw" else "raw"  # the layout is found from the data
    assert write(feature_store.open(path), asked) == []
    after = json.loads(file.read_text())["attributes"]
    unsealed = {"created", "seal"}
    assert {k: v for k, v in after.items() if k not in unsealed} == {
        k: v for k, v in before.items() if k not in unsealed
    }
    assert_whole(path, layout)


def test_attributes_that_belong_to_other_settings_are_beyond_repair(path, layout):
    group(path).write_bytes(b"{}")
    with pytest.raises(StoreError, match="cannot be restored: 3 commit record"):
        write(feature_store.open(path), layout, manifest=("m", 2))


def test_one_changed_value_keeps_all_other_attributes(path, layout):
    file = group(path)
    document = json.loads(file.read_text())
    before = json.loads(file.read_text())
    document["attributes"]["arrays"]["channels"] = 4
    file.write_text(json.dumps(document))
    assert write(feature_store.open(path), layout) == []
    assert json.loads(file.read_text()) == before


def test_verify_goes_on_after_files_that_are_no_files(path, layout):
    records = group(path).parent / "tokens" / ".commits"
    for number in range(3):
        (records / f"{number:06d}.json").unlink()
    (records / "000000.json").mkdir()
    os.mkfifo(records / "000001.json")
    (records / "000002.json").symlink_to("000002.json")
    found = verify(feature_store.open(path)).problems
    assert [(p.shard, p.kind) for p in found] == [
        (0, "damaged"),
        (1, "damaged"),
        (2, "unreadable"),
    ]
