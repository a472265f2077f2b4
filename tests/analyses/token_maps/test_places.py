"""Similarity maps and nearest tokens against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from analyses.token_maps import places as module
from analyses.token_maps.places import nearest, places_so_far, similarity_map
from feature_store import InputError

SOURCE = "m:a#t@4"


def cosines(tokens, query):
    length = np.linalg.norm(tokens, axis=-1) * np.linalg.norm(query)
    return tokens @ query / np.where(length > 0, length, 1)


@pytest.fixture
def features():
    found = np.random.default_rng(0).normal(size=(30, 3, 4, 6)).astype(np.float32)
    found[4, 1, 1] = 0
    found[9] = np.nan
    return found


def test_similarity_map_is_the_cosine(features):
    found = similarity_map(features[4], (2, 3))
    np.testing.assert_allclose(found, cosines(features[4], features[4, 2, 3]), atol=1e-6)
    assert found[2, 3] == pytest.approx(1)
    assert not similarity_map(features[4], (1, 1)).any()
    assert np.isnan(similarity_map(features[9], (0, 0))).all()
    with pytest.raises(InputError, match="token 3 0 is outside the 3 x 4 grid"):
        similarity_map(features[0], (3, 0))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("block", [2**16, 5])
def test_nearest_tokens_of_the_whole_store(features, make_store, monkeypatch, dtype, block):
    monkeypatch.setattr(module, "BLOCK_TOKENS", block)
    store = make_store("s.zarr", {SOURCE: features}, shard_images=8, failed={9: "x"}, dtype=dtype)
    stored = store.features(SOURCE).values.astype(np.float64)
    query = stored[4, 2, 3]
    found = nearest(store, SOURCE, query, 12, without=4)
    expected = cosines(stored, query)
    expected[[4, 9]] = -2
    order = np.argsort(-expected.ravel())[:12]
    places = np.stack(np.unravel_index(order, expected.shape))
    np.testing.assert_array_equal(np.stack([found.image, found.row, found.col]), places)
    np.testing.assert_allclose(found.similarity, expected.ravel()[order], atol=1e-3)
    with_itself = nearest(store, SOURCE, query, 1)
    assert [int(x[0]) for x in (with_itself.image, with_itself.row, with_itself.col)] == [4, 2, 3]


def test_answers_grow_shard_by_shard(features, make_store):
    store = make_store("s.zarr", {SOURCE: features[:8]}, shard_images=4)
    first, last = places_so_far(store, SOURCE, features[0, 0, 0], 5)
    assert first.image.max() < 4
    assert last.similarity.min() >= first.similarity.min()


def test_scales_of_an_s2_source_count_together(features, make_store):
    arrays = {SOURCE: features[:9], "m:a#t@8": features[10:19]}
    store = make_store("s.zarr", arrays)
    joint = np.concatenate(list(arrays.values()), -1)
    found = nearest(store, "m:a@4+8", joint[2, 1, 1], 1)
    assert [int(x[0]) for x in (found.image, found.row, found.col)] == [2, 1, 1]


def test_one_image_has_no_others(features, make_store):
    store = make_store("s.zarr", {SOURCE: features[:1]})
    assert len(nearest(store, SOURCE, features[0, 0, 0], 5, without=0).image) == 0
    assert len(nearest(store, SOURCE, features[0, 0, 0], 99).image) == 12
    with pytest.raises(InputError, match="k is 0"):
        nearest(store, SOURCE, features[0, 0, 0], 0)


def test_kept_positions_are_refused(tmp_path):
    store = feature_store.create(tmp_path / "s.zarr", dataset="toy:s", image_ids=["a"])
    store.add_source(
        "m:a#t@4.t2", manifest={"model": "m"}, grid=(3, 4), channels=2, dtype="float32", keep=2
    )
    with pytest.raises(InputError, match="keeps 2 of 12 token positions"):
        nearest(store, "m:a#t@4.t2", np.ones(2), 1)
