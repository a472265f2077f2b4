"""Partition by partition gives what one accumulator gives, whoever runs the partitions."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from analyses import few_shot, hard_examples, reconstruction, similarity
from analyses.moments.one_pass import from_batches, from_features
from analyses.moments.second_moments import MomentsConfig
from analyses.reading import engine, partition
from analyses.reading.passes import Reading
from analyses.reading.pooled import pool

A, B = "m:small#final@8", "m:large#final@8"
S2 = "m:small#final@8+16"


class Elsewhere(engine.Local):
    """Items, functions and results travel between processes, last item first."""

    def map(self, function, items):
        items = list(items)
        found = [_travelled(function)(_travelled(item)) for item in items[::-1]]
        return iter(_travelled(found)[::-1])

    def reduce(self, function, combine, items):
        found = list(self.map(function, items))
        return engine.tree(found.__getitem__, _travelled(combine), range(len(found)))


def _travelled(thing):
    return pickle.loads(pickle.dumps(thing))


@pytest.fixture
def stores(make_store, monkeypatch):
    """43 and 24 labelled images, one unreadable, in partitions of two shards of 4."""
    monkeypatch.setattr(partition, "PARTITION_IMAGES", 9)

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


def test_partitions_cover_the_store_once_whatever_its_size(stores):
    work = partition.partitions(stores[0])
    assert [list(p.shards) for p in work] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10]]
    assert partition.partition_images(stores[0]) == 8
    rows = np.concatenate([b.index for p in work for b in p.stream([A])])
    np.testing.assert_array_equal(rows, [n for n in range(43) if n != 5])
    assert [np.arange(43)[p.rows][0] for p in work] == [0, 8, 16, 24, 32, 40]


def test_a_tree_never_holds_more_results_than_levels():
    held = most = 0

    def leaf(item):
        nonlocal held, most
        held, most = held + 1, max(most, held + 1)
        return item

    def combine(first, second):
        nonlocal held
        held -= 1
        return first + second

    assert engine.tree(leaf, combine, range(600)) == sum(range(600))
    assert most == 1 + np.ceil(np.log(600) / np.log(engine.FAN_IN))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_moments_are_those_of_one_accumulator(stores, precision):
    train, reading = stores[0], Reading([A, B])
    config = MomentsConfig(precision=precision, targets=(B,), block_tokens=50)
    here = from_features(train, reading, config)
    there = from_features(train, reading, config, engine=Elsewhere())
    once = from_batches(train.stream([A, B]), [A, B], config)
    exact = precision == "float64"
    mean, scatter = (1e-13, 1e-11) if exact else (1e-6, 1e-5)
    for made in (here, there):
        assert made.channels == once.channels
        np.testing.assert_array_equal(made.tokens, once.tokens)
        np.testing.assert_allclose(made.mean, once.mean, rtol=mean)
        np.testing.assert_allclose(made.scatter, once.scatter, rtol=scatter, atol=scatter)
    np.testing.assert_array_equal(there.scatter, here.scatter)


def test_moments_leave_out_rows_that_are_done(stores):
    rest = from_features(stores[0], Reading([A], done=np.arange(43) < 20))
    assert rest.images.sum() == 23


def assert_same_bits(one, other):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(other[name], one[name], err_msg=name)


def test_reconstruction_is_the_same(stores):
    options = dict(target=B, sources=[A, S2], reference=S2)
    config = reconstruction.ReconstructionConfig(resamples=20, decompose=True)
    here = reconstruction.compute(*stores, **options, config=config)
    there = reconstruction.compute(*stores, **options, config=config, engine=Elsewhere())
    assert_same_bits(here, there)


def test_stored_moments_are_the_same(stores, tmp_path):
    options = dict(target=B, sources=[A])
    config = reconstruction.ReconstructionConfig(
        resamples=5, moments=str(tmp_path / "moments.zarr")
    )
    made = reconstruction.compute(*stores, **options, config=config, engine=Elsewhere())
    loaded = reconstruction.compute(*stores, **options, config=config)
    assert_same_bits(made, loaded)
    other = replace(config, moments=str(tmp_path / "other.zarr"))
    here = reconstruction.compute(*stores, **options, config=other)
    assert_same_bits(made, here)


@pytest.mark.parametrize("unit", ["token", "image"])
def test_similarity_is_the_same(stores, unit):
    config = similarity.SimilarityConfig(unit=unit, k=3)
    here = similarity.compute(stores[0], sources=[A, S2, B], config=config)
    there = similarity.compute(stores[0], sources=[A, S2, B], config=config, engine=Elsewhere())
    assert_same_bits(here, there)


def test_pooled_vectors_are_the_same_bits(stores):
    here, there = pool(stores[0], [S2]), pool(stores[0], [S2], engine=Elsewhere())
    np.testing.assert_array_equal(there.rows, here.rows)
    np.testing.assert_array_equal(there.features(S2).load(), here.features(S2).load())


def test_few_shot_is_the_same(stores):
    config = few_shot.FewShotConfig(shots=(1, 3), repeats=4)
    here = few_shot.compute(*stores, sources=[A, S2], config=config)
    there = few_shot.compute(*stores, sources=[A, S2], config=config, engine=Elsewhere())
    assert here.equals(there)


def test_hard_examples_are_the_same(stores):
    here = hard_examples.compute(*stores, sources=[A, S2, B])
    there = hard_examples.compute(*stores, sources=[A, S2, B], engine=Elsewhere())
    assert len(here)
    assert here["nearest"].tolist() == there["nearest"].tolist()
    assert here["image_id"].tolist() == there["image_id"].tolist()
