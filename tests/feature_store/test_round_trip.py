"""What goes in comes out: any shape, dtype, shard size, layout, set of failed images."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import feature_store
from feature_store.verify import verify

SOURCE = "toy:a/b#block:1@224"


@st.composite
def cases(draw):
    images = draw(st.integers(1, 9))
    return dict(
        images=images,
        grid=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        channels=draw(st.integers(1, 5)),
        prefix=draw(st.integers(0, 2)),
        shard_images=draw(st.integers(1, 10)),
        dtype=draw(st.sampled_from(["float16", "float32"])),
        layout=draw(st.sampled_from(["raw", "packed"])),
        failed=draw(st.sets(st.integers(0, images - 1))),
        seed=draw(st.integers(0, 2**31)),
    )


@settings(max_examples=40, deadline=None)
@given(cases())
def test_round_trip(case):
    rng = np.random.default_rng(case["seed"])
    tokens = rng.standard_normal((case["images"], *case["grid"], case["channels"]))
    prefix = rng.standard_normal((case["images"], case["prefix"], case["channels"]))
    with tempfile.TemporaryDirectory() as folder:
        store = written(Path(folder) / "s", case, tokens.astype("f4"), prefix.astype("f4"))
        dtype = np.dtype(case["dtype"])
        expected = tokens.astype("f4").astype(dtype)
        expected[sorted(case["failed"])] = np.nan
        found = store.features(SOURCE)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.values, expected)
        if case["prefix"]:
            first = prefix.astype("f4").astype(dtype)
            first[sorted(case["failed"])] = np.nan
            np.testing.assert_array_equal(store.prefix(SOURCE).values, first)
        order = rng.permutation(case["images"])
        np.testing.assert_array_equal(found[order].values, expected[order])
        streamed = list(store.stream([SOURCE]))
        good = [row for row in range(case["images"]) if row not in case["failed"]]
        assert [row for b in streamed for row in b.index] == good
        assert verify(feature_store.open(store.path)).problems == []


def written(path, case, tokens, prefix):
    store = feature_store.create(
        path,
        dataset="d",
        image_ids=[f"é/{k}" for k in range(case["images"])],
        shard_images=case["shard_images"],
    )
    writer = store.add_source(
        SOURCE,
        manifest={"n": 1},
        **{k: case[k] for k in ("grid", "channels", "prefix", "dtype", "layout")},
    )
    for shard in writer.missing():
        rows = writer.rows(shard)
        part = slice(rows.start, rows.stop)
        failed = {row: "unreadable" for row in case["failed"] if row in rows}
        writer.commit(shard, tokens[part], prefix[part] if case["prefix"] else None, failed)
    return feature_store.open(path)
