"""Piece by piece gives what one pass gives, whoever runs the pieces."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest

from analyses import few_shot, hard_examples, reconstruction, similarity
from analyses.moments.accumulate import from_batches
from analyses.moments.second_moments import MomentsConfig
from analyses.reading import partition, passes
from analyses.reading.pooled import pool
from analyses.statistics.nearest_neighbours import normalise, search

A, B = "m:small#final@8", "m:large#final@8"
S2 = "m:small#final@8+16"


@dataclass
class InOrder:
    """An engine in this process that pickles what it is given, as every engine must."""

    fold: int = 2

    def map(self, function, items):
        import pickle

        return [pickle.loads(pickle.dumps(function))(item) for item in items]

    def reduce(self, function, merge, items):
        found = self.map(function, items)
        while len(found) > 1:
            groups = [found[k : k + self.fold] for k in range(0, len(found), self.fold)]
            found = [functools.reduce(merge, group) for group in groups]
        return found[0]


@pytest.fixture
def stores(make_store, monkeypatch):
    """43 and 24 labelled images in three classes, in pieces of two shards of 4; one unreadable."""
    monkeypatch.setattr(partition, "PIECE_IMAGES", 9)

    def made(name, count, seed):
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        base = rng.normal(5, 1, (count, 3, 2, 4)).astype(np.float32) + labels[:, None, None, None]
        mix = np.random.default_rng(7).normal(size=(4, 6)).astype(np.float32)
        noise = rng.normal(0, 0.3, (count, 3, 2, 6)).astype(np.float32)
        wide = rng.normal(0, 1, (count, 3, 2, 4)).astype(np.float32)
        arrays = {A: base, "m:small#final@16": wide, B: base @ mix + noise}
        return make_store(
            name,
            arrays,
            labels=labels,
            label_names=["x", "y", "z"],
            shard_images=4,
            failed={5: "broken"},
        )

    return made("train", 43, 0), made("test", 24, 1)


def test_pieces_cover_the_store_once_whatever_its_size(stores):
    work = partition.pieces(stores[0])
    assert [list(p.shards) for p in work] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10]]
    assert partition.piece_images(stores[0]) == 8
    rows = np.concatenate([b.index for p in work for b in partition.stream(p, [A])])
    np.testing.assert_array_equal(rows, [n for n in range(43) if n != 5])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_moments_equal_one_pass_to_float64_rounding(stores, precision):
    train = stores[0]
    config = MomentsConfig(precision=precision, targets=(B,), block_tokens=50)
    here = from_batches(
        train.stream([A, B]), [A, B], replace(config, piece_images=partition.piece_images(train))
    )
    there = passes.moments(InOrder(), train, [A, B], config)
    assert there.blocks == here.blocks
    np.testing.assert_array_equal(there.tokens, here.tokens)
    np.testing.assert_allclose(there.mean, here.mean, rtol=1e-13)
    np.testing.assert_allclose(there.scatter, here.scatter, rtol=1e-11, atol=1e-11)
    other = passes.moments(InOrder(fold=5), train, [A, B], config)
    np.testing.assert_allclose(other.scatter, here.scatter, rtol=1e-11, atol=1e-11)


def test_moments_leave_out_rows_that_are_done(stores):
    train = stores[0]
    done = np.arange(43) < 20
    rest = passes.moments(InOrder(), train, [A], done=done)
    assert rest.images.sum() == 23


def assert_datasets_close(one, other, rtol):
    assert set(one) == set(other)
    for name in one:
        if np.issubdtype(one[name].dtype, np.number):
            np.testing.assert_allclose(other[name], one[name], rtol=rtol, atol=1e-11, err_msg=name)


def test_reconstruction_is_the_same(stores):
    options = dict(target=B, sources=[A, S2], reference=S2)
    config = reconstruction.ReconstructionConfig(resamples=20, decompose=True)
    here = reconstruction.compute(*stores, **options, config=config)
    there = reconstruction.compute(*stores, **options, config=config, engine=InOrder())
    assert_datasets_close(here, there, 1e-9)


def test_kept_moments_are_made_and_completed_on_an_engine(stores, tmp_path):
    options = dict(target=B, sources=[A])
    config = reconstruction.ReconstructionConfig(
        resamples=5, moments=str(tmp_path / "moments.zarr")
    )
    made = reconstruction.compute(*stores, **options, config=config, engine=InOrder())
    read = reconstruction.compute(*stores, **options, config=config)
    assert_datasets_close(made, read, 1e-12)


@pytest.mark.parametrize("unit", ["token", "image"])
def test_similarity_is_the_same(stores, unit):
    config = similarity.SimilarityConfig(unit=unit, k=3)
    here = similarity.compute(stores[0], sources=[A, S2, B], config=config)
    there = similarity.compute(stores[0], sources=[A, S2, B], config=config, engine=InOrder())
    assert_datasets_close(here, there, 1e-7)


def test_pooled_vectors_are_the_same_bits(stores):
    here, there = pool(stores[0], [S2]), pool(stores[0], [S2], engine=InOrder())
    np.testing.assert_array_equal(there.rows, here.rows)
    np.testing.assert_array_equal(there.features(S2).load(), here.features(S2).load())


def test_few_shot_is_the_same(stores):
    config = few_shot.FewShotConfig(shots=(1, 3), repeats=4)
    here = few_shot.compute(*stores, sources=[A, S2], config=config)
    there = few_shot.compute(*stores, sources=[A, S2], config=config, engine=InOrder())
    assert here.equals(there)


def test_neighbours_are_those_of_one_search(stores):
    train = stores[0]
    pooled = pool(train, [S2])
    vectors = pooled.features(S2).load()
    mean = vectors.mean(0)
    rows = normalise(vectors, mean)
    queries = rows[::7] + 0.01
    among = np.zeros(43, bool)
    among[pooled.rows[3:]] = True
    here = search(rows[3:], queries, 6)
    there = passes.search(InOrder(), train, S2, queries, 6, mean=mean, among=among)
    np.testing.assert_array_equal(there.row, pooled.rows[3:][here.row])
    np.testing.assert_allclose(there.similarity, here.similarity, rtol=1e-6)


def test_hard_examples_are_the_same(stores):
    here = hard_examples.compute(*stores, sources=[A, S2, B])
    there = hard_examples.compute(*stores, sources=[A, S2, B], engine=InOrder())
    assert len(here)
    assert here["nearest"].tolist() == there["nearest"].tolist()
    assert here["image_id"].tolist() == there["image_id"].tolist()
