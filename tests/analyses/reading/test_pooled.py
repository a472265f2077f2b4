"""Pooling equals numpy on the stored arrays; blocks, merging and row selection are views of it."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.reading.pooled import FeatureRows, pool
from feature_store import InputError

RNG = np.random.default_rng(0)
SMALL, LARGE = "toy:a#blocks@224", "toy:a#blocks@448"


@pytest.fixture
def maps():
    return {s: RNG.normal(size=(40, 3, 2, 5)).astype(np.float32) for s in (SMALL, LARGE)}


def test_mean_over_tokens_of_single_and_s2_sources(make_store, maps):
    store = make_store("s", maps)
    pooled = pool(store, [SMALL, "toy:a#blocks@224+448"])
    single, s2 = (pooled.features(s).load() for s in (SMALL, "toy:a#blocks@224+448"))
    np.testing.assert_allclose(single, maps[SMALL].mean((1, 2)), atol=1e-6)
    both = [maps[SMALL].mean((1, 2)), maps[LARGE].mean((1, 2))]
    np.testing.assert_allclose(s2, np.concatenate(both, 1), atol=1e-6)
    added = pooled.features("toy:a#blocks@224+448", "add").load()
    np.testing.assert_allclose(added, both[0] + both[1], atol=1e-6)
    np.testing.assert_array_equal(pooled.rows, np.arange(40))


def test_pooling_commutes_with_the_stores_own_composition(make_store, maps):
    store = make_store("s", maps)
    for merge in ("concat", "add"):
        composed = store.features("toy:a#blocks@224+448", merge=merge).mean(["row", "col"])
        pooled = pool(store, ["toy:a#blocks@224+448"]).features("toy:a#blocks@224+448", merge)
        np.testing.assert_allclose(pooled.load(), composed.values, atol=1e-6)


def test_first_prefix_token(make_store, maps):
    first = RNG.normal(size=(40, 2, 5)).astype(np.float32)
    store = make_store("s", maps, prefix={SMALL: first})
    features = pool(store, [SMALL], "prefix").features(SMALL)
    np.testing.assert_array_equal(features.load(), first[:, 0])
    with pytest.raises(InputError, match="no prefix tokens"):
        pool(store, [LARGE], "prefix")


def test_failed_images_are_left_out_of_every_source(make_store, maps):
    store = make_store("s", maps, failed={3: "truncated", 20: "zero bytes"})
    pooled = pool(store, [SMALL, LARGE])
    assert pooled.rows.tolist() == [r for r in range(40) if r not in (3, 20)]
    np.testing.assert_allclose(
        pooled.features(LARGE).load(), maps[LARGE].mean((1, 2))[pooled.rows], atol=1e-6
    )


def test_blocks_and_kept_rows():
    x = RNG.normal(size=(10, 3)).astype(np.float32)
    kept = np.arange(10) % 3 > 0
    rows = FeatureRows.of(x).keep(kept)
    assert rows.shape == (6, 3)
    np.testing.assert_array_equal(rows.load(), x[kept])
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(4))), x[kept])
    np.testing.assert_array_equal(rows.keep(np.arange(6) > 3).load(), x[kept][4:])


def test_refusals(make_store, maps):
    store = make_store("s", maps)
    with pytest.raises(InputError, match="name at least one"):
        pool(store, [])
    with pytest.raises(InputError, match="choose mean or prefix"):
        pool(store, [SMALL], "max")
    everything = dict.fromkeys(range(40), "broken")
    with pytest.raises(InputError, match="no readable image"):
        pool(make_store("f", maps, failed=everything), [SMALL])
