"""Every damage is found, none crashes verify, and exactly the damaged shards are redone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import feature_store
from feature_store.errors import StoreError
from feature_store.verify import verify, withdraw

RNG = np.random.default_rng(1)
TOKENS = RNG.standard_normal((11, 2, 2, 3)).astype(np.float32)
SOURCE = "toy:a#blocks@224"


@pytest.fixture(params=["raw", "packed"])
def store(request, tmp_path):
    store = feature_store.create(
        tmp_path / "s",
        dataset="d",
        image_ids=list("abcdefghijk"),
        labels=[0] * 11,
        label_names=["x"],
        shard_images=4,
    )
    write(store, request.param)
    return feature_store.open(tmp_path / "s")


def write(store, layout="raw"):
    """Commit what is missing; the shards that were."""
    writer = store.add_source(
        SOURCE, manifest={"m": 1}, grid=(2, 2), channels=3, prefix=1, dtype="float32", layout=layout
    )
    missing = writer.missing()
    for shard in missing:
        rows = writer.rows(shard)
        part = TOKENS[rows.start : rows.stop]
        writer.commit(shard, part, part[:, 0, :1])
    return missing


def fresh(store):
    return feature_store.open(store.path)


def data_file(store, name, shard):
    (path,) = Path(store.path).glob(f"features/*/*/*/{name}/c.{shard}.*")
    return path


def record_file(store, shard):
    (path,) = Path(store.path).glob(f"features/*/*/*/tokens/.commits/{shard:06d}.json")
    return path


def flip(path, bit):
    data = bytearray(path.read_bytes())
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_a_good_store_has_no_problems(store):
    report = verify(store)
    assert report.problems == []
    assert report.shards == 3
    assert report.bytes_read == TOKENS.nbytes + 11 * 3 * 4


@pytest.mark.parametrize("name", ["tokens", "prefix"])
@pytest.mark.parametrize("how", ["flip", "truncate", "empty", "delete"])
def test_one_damaged_shard_is_named_read_refused_and_redone_alone(store, name, how):
    path = data_file(store, name, 1)
    if how == "flip":
        flip(path, 37)
    elif how == "truncate":
        path.write_bytes(path.read_bytes()[:-5])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    store = fresh(store)
    with pytest.raises(StoreError, match="shard 1 of .*damaged"):
        store.features(SOURCE).values  # noqa: B018 the read is the test
    np.testing.assert_array_equal(store.features(SOURCE)[8:].values, TOKENS[8:])
    problems = verify(fresh(store)).problems
    assert [(p.where, p.shard, p.kind) for p in problems] == [(SOURCE, 1, "damaged")]
    assert withdraw(store, problems) == 1
    layout = "raw" if store.source(SOURCE).arrays["tokens"].raw else "packed"
    assert write(fresh(store), layout) == [1]
    assert verify(fresh(store)).problems == []
    np.testing.assert_array_equal(fresh(store).features(SOURCE).values, TOKENS)


def test_swapped_shards_and_swapped_records_are_found(store):
    first, second = (data_file(store, "tokens", k) for k in (0, 1))
    swap(first, second)
    assert {p.shard for p in verify(fresh(store)).problems} == {0, 1}
    swap(first, second)
    swap(record_file(store, 0), record_file(store, 1))
    assert {p.shard for p in verify(fresh(store)).problems} == {0, 1}


def swap(one, other):
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def test_a_deleted_record_is_a_missing_shard(store):
    record_file(store, 2).unlink()
    (problem,) = verify(fresh(store)).problems
    assert (problem.shard, problem.kind) == (2, "missing")


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_detected_and_never_crashes(store, tmp_path, seed):
    """Flip, truncate, delete or swap one random file; verify must say so."""
    rng = np.random.default_rng(seed)
    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    files = sorted(p for p in copy.rglob("*") if p.is_file() and p.stat().st_size)
    victim = files[rng.integers(len(files))]
    before = victim.read_bytes()
    how = rng.choice(["flip", "truncate", "delete", "swap"])
    if how == "flip":
        flip(victim, int(rng.integers(2**31)))
    elif how == "truncate":
        victim.write_bytes(before[: rng.integers(len(before))])
    elif how == "delete":
        victim.unlink()
    else:
        other = files[rng.integers(len(files))]
        swap(victim, other)
    try:
        problems = verify(feature_store.open(copy)).problems
    except StoreError:
        return  # the root itself says that it is damaged
    unseen = not problems and not is_equivalent(copy, Path(store.path))
    assert not unseen, f"{how} of {victim.relative_to(copy)} went unnoticed"


def is_equivalent(copy, original):
    """Whether a plain reader that ignores commit records still sees the same values and facts."""
    import xarray as xr

    try:
        one, other = (
            xr.open_datatree(p, engine="zarr", consolidated=False).load() for p in (copy, original)
        )
    except Exception:
        return False
    if set(one.groups) != set(other.groups) or not one.identical(other):
        return False
    records = [sorted(p.glob("features/*/*/*/tokens/.commits/*.json")) for p in (copy, original)]
    contents = [{p.name: json.loads(p.read_bytes()) for p in paths} for paths in records]
    return contents[0] == contents[1]


def test_values_beyond_the_last_image_count(tmp_path):
    store = feature_store.create(
        tmp_path / "s", dataset="d", image_ids=list("abcdef"), shard_images=4
    )
    writer = store.add_source(SOURCE, manifest={}, grid=(2, 2), channels=3, dtype="float32")
    for shard in writer.missing():
        rows = writer.rows(shard)
        writer.commit(shard, TOKENS[rows.start : rows.stop])
    flip(data_file(store, "tokens", 1), 8 * (4 * 12 * 3 + 2) + 6)  # exponent of a padding NaN
    (problem,) = verify(fresh(store)).problems
    assert "beyond the last image" in problem.reason


def test_an_unreadable_shard_is_not_withdrawn(store, monkeypatch):
    from feature_store.stored_source import StoredSource

    def broken(self, shard):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(StoredSource, "committed_values", broken)
    report = verify(fresh(store))
    assert {p.kind for p in report.problems} == {"unreadable"}
    assert withdraw(store, report.problems) == 0


@pytest.mark.parametrize("name", ["tokens", "prefix"])
def test_lost_array_metadata_are_put_back_and_lose_nothing(store, name):
    (path,) = Path(store.path).glob(f"features/*/*/*/{name}/zarr.json")
    layout = "raw" if store.source(SOURCE).arrays["tokens"].raw else "packed"
    path.unlink()
    (problem,) = verify(fresh(store)).problems
    assert (problem.kind, problem.shard) == ("metadata", None)
    assert withdraw(store, [problem]) == 0
    assert write(fresh(store), layout) == []
    assert verify(fresh(store)).problems == []
    np.testing.assert_array_equal(fresh(store).features(SOURCE).values, TOKENS)


def test_every_changed_bit_of_a_record_is_found(store):
    path = record_file(store, 1)
    before = path.read_bytes()
    for bit in range(3, 8 * len(before), 29):
        flip(path, bit)
        found = verify(fresh(store)).problems
        path.write_bytes(before)
        assert found or json.loads(before) == parsed_with_flip(before, bit), bit


def parsed_with_flip(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        return json.loads(changed)
    except ValueError:
        return None


def test_a_wrong_status_chunk_is_rewritten(store):
    (Path(store.path) / "status" / "c.1").write_bytes(b"\7\1\1\1")
    (problem,) = verify(fresh(store)).problems
    assert (problem.kind, problem.shard) == ("status", 1)
    with pytest.raises(StoreError, match="workbench verify"):
        fresh(store).status  # noqa: B018 the read is the test
    withdraw(fresh(store), [problem])
    assert verify(fresh(store)).problems == []


def test_a_purged_file_is_missed_without_reading_anything(store):
    data_file(store, "tokens", 1).unlink()
    layout = "raw" if store.source(SOURCE).arrays["tokens"].raw else "packed"
    assert write(fresh(store), layout) == [1]


def test_status_and_labels_beyond_the_last_image_count(store):
    status = Path(store.path) / "status" / "c.2"  # three rows of four
    status.write_bytes(status.read_bytes()[:3] + b"\1")
    root = zarr.open_group(store.path, mode="r+", use_consolidated=False)
    root["label"].resize((12,))
    root["label"][11] = 5
    root["label"].resize((11,))
    found = {(p.shard, p.kind) for p in verify(fresh(store)).problems}
    assert (2, "status") in found
    label = [p.reason for p in verify(fresh(store)).problems if p.kind == "metadata"]
    assert label == ["label has values beyond the last image"]
