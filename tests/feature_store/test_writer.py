"""The cast to the stored dtype: what it does to values is counted, what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import feature_store
from feature_store.casting import CastStatistics, largest_bits
from feature_store.errors import InputError
from feature_store.writer import ShardImages

RNG = np.random.default_rng(0)
X = (10 * RNG.standard_normal((4, 1, 2, 3))).astype(np.float32)


def writer(path, dtype="float16"):
    store = feature_store.create(path, dataset="d", image_ids=list("abcd"))
    return store.add_source("toy:a#b@1", manifest={}, grid=(1, 2), channels=3, dtype=dtype)


def test_statistics_equal_numpy_s(tmp_path):
    record = writer(tmp_path / "s").commit(0, X)
    error = X.astype(np.float64) - X.astype(np.float16).astype(np.float64)
    assert record.max_abs == pytest.approx(np.abs(X).max(), rel=1e-6)
    assert record.square_sum == pytest.approx((X.astype(np.float64) ** 2).sum(), rel=1e-5)
    assert record.square_error == pytest.approx((error**2).sum(), rel=1e-4)


def test_values_cast_by_the_caller_carry_their_statistics(tmp_path):
    counted = CastStatistics()
    for x in X:
        counted.add(x, x.astype(np.float16))
    one = writer(tmp_path / "one").commit(0, X.astype(np.float16), statistics=counted)
    other = writer(tmp_path / "other").commit(0, X)
    assert one.checksum == other.checksum
    assert one.square_error == pytest.approx(other.square_error)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_non_finite_values_cast_by_the_caller_are_refused(tmp_path, bad):
    half = X.astype(np.float16)
    half[2, 0, 1, 1] = bad
    with pytest.raises(InputError, match=r"1 channel\(s\), first \[1\]"):
        writer(tmp_path / "s").commit(0, half, statistics=CastStatistics())


def test_the_maximum_before_the_cast_is_named(tmp_path):
    with pytest.raises(InputError, match="largest absolute value 70000"):
        writer(tmp_path / "s").commit(
            0, np.full((4, 1, 2, 3), np.inf, np.float16), statistics=CastStatistics(7e4)
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_largest_bits(dtype):
    values = RNG.standard_normal(1000).astype(dtype)
    assert largest_bits(values) == np.abs(values).max()
    values[7] = -np.inf
    assert largest_bits(values) == np.inf
    values[8] = np.nan
    assert np.isnan(largest_bits(values))


def test_wrong_shape(tmp_path):
    with pytest.raises(InputError, match=r"shape \(4, 1, 1, 3\), expected \(4, 1, 2, 3\)"):
        writer(tmp_path / "s").commit(0, X[:, :, :1])


def test_a_record_keeps_what_is_known_of_the_images_also_after_growth(tmp_path):
    first = ShardImages(fingerprints=["aa", "", "cc", "dd"])
    record = writer(tmp_path / "s").commit(0, X, failed={1: "x"}, images=first)
    assert (record.fingerprints, record.files) == (first.fingerprints, None)
    second = ShardImages(fingerprints=["bb"], files=[[3, 7]])
    both = ShardImages.after(record, second)
    assert both.fingerprints == ["aa", "", "cc", "dd", "bb"]
    assert both.files == [None] * 4 + [[3, 7]]


def test_readers_keep_records_without_their_lists_of_images(tmp_path):
    one, known = writer(tmp_path / "s"), ShardImages(fingerprints=list("abcd"), files=[None] * 4)
    record = one.commit(0, X, images=known)
    assert one.stored.whole_record(0) == record
    assert one.stored.record(0) == replace(record, fingerprints=[], files=None)


def test_sums_do_not_depend_on_the_order_and_batches_of_images():
    images = RNG.standard_normal((50, 3, 3, 7)).astype(np.float32)
    records = []
    for order in (np.arange(50), np.arange(50)[::-1], np.roll(np.arange(50), 17)):
        counted = CastStatistics()
        for part in np.array_split(order, 1 + order[0] % 4):
            one = CastStatistics()
            for row in part:
                one.add(images[row], images[row].astype(np.float16))
            counted.merge(one)
        records.append(counted)
    assert records[0] == records[1] == records[2]
