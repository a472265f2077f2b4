"""Stores read by dask, by xarray without this package, and from several processes at once."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import feature_store
from feature_store import StoreError

RNG = np.random.default_rng(0)
SOURCE, BOTH = "toy:a#b@28", "toy:a#b@28+56"


@pytest.fixture
def store(make_store):
    arrays = {name: RNG.normal(size=(10, 2, 3, 4)) for name in (SOURCE, "toy:a#b@56")}
    return make_store("s", arrays, shard_images=4, dtype="float16")


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_dask_reads_chunks_of_shards(scheduler, store):
    pytest.importorskip("dask", reason="needs the extra cluster")
    lazy = store.features(BOTH)
    chunked = lazy.chunk(image=store.shard_images)
    assert chunked.chunks[0] == (4, 4, 2)
    found = chunked.astype("f8").mean(["row", "col"]).compute(scheduler=scheduler)
    np.testing.assert_allclose(found, lazy.values.astype("f8").mean((1, 2)), rtol=1e-12)


def test_dask_does_not_read_what_is_damaged(store):
    pytest.importorskip("dask", reason="needs the extra cluster")
    path = next(Path(store.path, "features").rglob("c.1.0.0.0"))
    path.write_bytes(bytes(path.stat().st_size))
    chunked = feature_store.open(store.path).features(BOTH).chunk(image=4)
    np.testing.assert_array_equal(chunked[:4].compute(), store.features(BOTH)[:4])
    with pytest.raises(StoreError, match="shard 1 of"):
        chunked.compute(scheduler="synchronous")


@pytest.mark.parametrize("chunks", [None, {}])
def test_xarray_opens_the_tree(chunks, store):
    if chunks is not None:
        pytest.importorskip("dask", reason="needs the extra cluster")
    with xr.open_datatree(store.path, engine="zarr", consolidated=False, chunks=chunks) as tree:
        tokens = tree[store.source(SOURCE).group]["tokens"]
        assert tokens.dims == ("image", "row", "col", "channel")
        np.testing.assert_array_equal(tokens.values, store.features(SOURCE).values)
        assert tree["image_id"].values.tolist() == store.image_ids.tolist()
        assert (chunks is None) == (tokens.chunks is None)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_several_processes_read_at_once(start, store):
    view = pickle.loads(pickle.dumps(store.features(BOTH)))
    with multiprocessing.get_context(start).Pool(2) as pool:
        for found in pool.map(np.asarray, [view] * 4):  # a function that can be imported anywhere
            np.testing.assert_array_equal(found, store.features(BOTH).values)
