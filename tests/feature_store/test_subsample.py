"""A fixed random subset of tokens per image, stored with its positions."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from feature_store.errors import InputError, StoreError
from feature_store.subsample import keep, positions
from feature_store.verify import verify

RNG = np.random.default_rng(0)
MAPS = RNG.standard_normal((5, 3, 4, 2)).astype(np.float32)


def stored(path, kept, layout="raw"):
    store = feature_store.create(path, dataset="d", image_ids=list("abcde"), shard_images=2)
    for name, scale in ((f"toy:a#blocks@224.t{kept[0]}", 1), (f"toy:b#blocks@224.t{kept[1]}", 2)):
        writer = store.add_source(
            name,
            manifest={},
            grid=(3, 4),
            channels=2,
            dtype="float32",
            layout=layout,
            keep=kept[scale - 1],
        )
        for shard in writer.missing():
            rows = writer.todo(shard)
            writer.commit(shard, scale * MAPS[rows.start : rows.stop])
    return feature_store.open(path)


def test_positions_depend_on_id_grid_and_seed_only():
    one = positions(list("abc"), (3, 4), 5)
    assert one.shape == (3, 5)
    np.testing.assert_array_equal(one[[2, 0]], positions(["c", "a"], (3, 4), 5))
    assert not np.array_equal(one, positions(list("abc"), (3, 4), 5, seed=1))
    assert all(len(set(row)) == 5 and 0 <= row.min() <= row.max() < 12 for row in one)
    assert (np.diff(one) > 0).all()


def test_positions_are_uniform():
    drawn = positions([str(k) for k in range(4000)], (3, 4), 3)
    counts = np.bincount(drawn.ravel(), minlength=12)
    assert abs(counts - 1000).max() < 150  # five standard deviations of a binomial count


@pytest.mark.parametrize("tokens", [0, 13])
def test_impossible_counts_are_refused(tokens):
    with pytest.raises(InputError, match="choose 1 to 12"):
        positions(["a"], (3, 4), tokens)


@pytest.mark.parametrize("layout", ["raw", "packed"])
def test_round_trip(tmp_path, layout):
    store = stored(tmp_path / "s", (5, 5), layout)
    view = store.features("toy:a@224.t5")
    assert view.dims == ("image", "token", "channel")
    place = view.position.values
    np.testing.assert_array_equal(view.values, keep(MAPS, place))
    np.testing.assert_array_equal(place, positions(list("abcde"), (3, 4), 5))
    assert verify(feature_store.open(store.path)).problems == []


def test_stream_pairs_the_same_positions(tmp_path):
    store = stored(tmp_path / "s", (5, 5))
    for batch in store.stream(["toy:a@224.t5", "toy:b@224.t5"]):
        a, b = batch.tokens.values()
        assert a.shape == (len(batch.index), 5, 1, 2)
        np.testing.assert_array_equal(2 * a, b)


def test_other_positions_are_refused(tmp_path):
    store = stored(tmp_path / "s", (5, 4))
    with pytest.raises(StoreError, match="cannot be paired"):
        list(store.stream(["toy:a@224.t5", "toy:b@224.t4"]))


def test_scales_with_other_positions_are_not_composed(tmp_path):
    store = feature_store.create(tmp_path / "s", dataset="d", image_ids=list("abcde"))
    for scale, grid in (("224", (3, 4)), ("448.unpooled", (6, 8))):
        writer = store.add_source(
            f"toy:a#blocks@{scale}.t4", manifest={}, grid=grid, channels=2, dtype="float32", keep=4
        )
        writer.commit(0, np.ones((5, *grid, 2), np.float32))
    view = feature_store.open(tmp_path / "s").features("toy:a@224.t4+448.unpooled.t4")
    with pytest.raises(StoreError, match="cannot be paired"):
        view.values  # noqa: B018 the read is the test


def test_incomplete_positions_read_as_minus_one(tmp_path):
    store = feature_store.create(tmp_path / "s", dataset="d", image_ids=list("ab"), shard_images=1)
    writer = store.add_source("toy:a#b@224.t3", manifest={}, grid=(3, 4), channels=2, keep=3)
    writer.commit(0, np.ones((1, 3, 4, 2), np.float32))
    view = store.features("toy:a@224.t3", allow_incomplete=True).load()
    assert (view.position[1].values == -1).all()
    assert (view.position[0].values >= 0).all()
