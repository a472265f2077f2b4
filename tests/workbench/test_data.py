"""TokenDataset under DataLoader: every image once, in any number of processes, as analyses read."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from analyses.reading.pooled import pool
from feature_store import InputError, StoreError
from workbench.data import SHARDS, ShardSampler, TokenDataset

RNG = np.random.default_rng(0)
COUNT = 43
SMALL, LARGE = "toy:a#b@28", "toy:a#b@56"
BOTH = "toy:a#b@28+56"


@pytest.fixture
def store(make_store):
    """43 images in shards of 4; the first channel of each token is a number of its own."""
    maps = RNG.normal(size=(COUNT, 2, 3, 5)).astype(np.float32)
    maps[..., 0] = np.arange(COUNT * 6).reshape(COUNT, 2, 3)
    arrays = {SMALL: maps, LARGE: RNG.normal(size=(COUNT, 2, 3, 4)).astype(np.float32)}
    labels = np.arange(COUNT) % 3 - 1
    first = {SMALL: RNG.normal(size=(COUNT, 2, 5)).astype(np.float32)}
    return make_store(
        "s", arrays, labels=labels, label_names=["cat", "dog"], shard_images=4, prefix=first,
        failed={7: "damaged"},
    )  # fmt: skip


def epoch(loader):
    """First channels of all tokens, and labels, of one pass."""
    found = [(maps[..., 0].flatten(1), labels) for maps, labels in loader]
    return torch.cat([tokens for tokens, _ in found]).numpy(), torch.cat(
        [label for _, label in found]
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize(
    ("workers", "start"), [(0, None), (2, "fork"), (4, "fork"), (2, "spawn"), (4, "spawn")]
)
def test_every_token_comes_once_per_epoch(workers, start, store):
    tokens = TokenDataset(store, BOTH)
    tokens[0]  # opens the store here, before any fork
    loader = DataLoader(
        tokens, 5, sampler=ShardSampler(tokens), num_workers=workers,
        multiprocessing_context=start, persistent_workers=workers > 0,
    )  # fmt: skip
    first, labels = epoch(loader)
    wanted = np.delete(np.arange(COUNT * 6).reshape(COUNT, 6), 7, 0)
    order = np.argsort(first[:, 0])
    np.testing.assert_array_equal(first[order], wanted)
    np.testing.assert_array_equal(labels[order], store.labels[np.delete(np.arange(COUNT), 7)])
    if workers == 2:
        second, _ = epoch(loader)
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(np.sort(second, 0), wanted)


def test_items_are_the_stored_features(store):
    values = store.features(BOTH).values
    tokens = TokenDataset(store.path, BOTH)
    assert (len(tokens), tokens.shape) == (COUNT - 1, (2, 3, 9))
    assert tokens.image_ids.tolist() == [f"s/{n:05d}" for n in range(COUNT) if n != 7]
    found, label = tokens[-1]
    np.testing.assert_array_equal(found, values[-1])
    assert (found.dtype, label) == (torch.float32, -1 + (COUNT - 1) % 3)
    with pytest.raises(IndexError):
        tokens[len(tokens)]


@pytest.mark.parametrize("pooling", ["mean", "prefix"])
def test_pooled_vectors_have_the_bits_of_the_analyses(pooling, store):
    tokens = TokenDataset(store, SMALL, pooling=pooling)
    expected = pool(store, [SMALL], pooling).features(SMALL).load()
    found = torch.stack([vector for vector, _ in tokens.__getitems__(range(len(tokens)))])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(tokens[20][0], expected[20])


def test_scales_are_added_where_asked(make_store):
    arrays = {SMALL: RNG.normal(size=(3, 2, 2, 4)), LARGE: RNG.normal(size=(3, 2, 2, 4))}
    store = make_store("s", arrays, dtype="float16")
    tokens = TokenDataset(store, BOTH, merge="add")
    np.testing.assert_array_equal(tokens[1][0], store.features(BOTH, merge="add").values[1])


def test_labels_of_two_stores_meet_by_name(make_store):
    array = {SMALL: np.ones((3, 1, 1, 2))}
    train = make_store("train", array, labels=[0, 1, 1], label_names=["cat", "dog"])
    test = make_store("test", array, labels=[0, 1, 2], label_names=["ant", "dog", "cat"])
    tokens = TokenDataset(test, SMALL, label_names=train.label_names)
    assert tokens.labels.tolist() == [-1, 1, 0]
    assert TokenDataset(test, SMALL).labels.tolist() == [0, 1, 2]


def test_shards_are_read_in_groups_and_little_is_kept(store):
    tokens = TokenDataset(store, SMALL)
    order = np.array(list(ShardSampler(tokens, shards=2)))
    assert sorted(order.tolist()) == list(range(len(tokens)))
    groups, seen = tokens.shards[order], []
    while len(groups):
        pair = set(groups[:5].tolist())
        length = int(np.isin(groups, list(pair)).sum())
        assert set(groups[:length].tolist()) == pair
        seen.append(len(pair))
        groups = groups[length:]
    assert max(Counter(seen)) == 2
    for item in order:
        tokens[item]
    assert len(tokens._kept) == SHARDS + 1
    assert len(pickle.dumps(tokens)) < 5000
    sampler = ShardSampler(tokens)
    first = list(sampler)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_processes_share_an_epoch(store):
    tokens = TokenDataset(store, SMALL)
    whole = list(ShardSampler(tokens, seed=3))
    parts = [ShardSampler(tokens, seed=3, rank=rank, world_size=4) for rank in range(4)]
    orders = [list(part) for part in parts]
    assert [len(part) for part in parts] == [len(order) for order in orders] == [10] * 4
    assert [item for order in orders for item in order] == whole[:40]
    assert sum(len(np.unique(tokens.shards[order])) for order in orders) < 2 * 11
    assert [list(part) for part in parts] != orders  # the next epoch


def test_a_store_of_other_images_in_its_place_is_refused(store, make_store):
    tokens = pickle.loads(pickle.dumps(TokenDataset(store, SMALL)))
    Path(store.path).rename(f"{store.path}.gone")
    array = {SMALL: np.ones((COUNT, 2, 3, 5), np.float32)}
    make_store("s", array, shard_images=4, ids=[f"other/{n}" for n in range(COUNT)])
    with pytest.raises(StoreError, match=f"{store.path} holds other images"):
        tokens[0]


def test_refusals(store):
    with pytest.raises(InputError, match="pooling is 'max'.*mean, prefix"):
        TokenDataset(store, SMALL, pooling="max")
    with pytest.raises(InputError, match="no prefix"):
        TokenDataset(store, LARGE, pooling="prefix")
    with pytest.raises(StoreError, match="does not hold toy:b"):
        TokenDataset(store, "toy:b@28")
    for rank in (-1, 2):
        with pytest.raises(InputError, match=f"rank is {rank}, expected 0 to 1"):
            ShardSampler(TokenDataset(store, SMALL), rank=rank, world_size=2)
    with pytest.raises(InputError, match="shards is 5, expected 1 to 4"):
        ShardSampler(TokenDataset(store, SMALL), shards=5)
