"""Stored features as a dataset of PyTorch.

>>> from torch.utils.data import DataLoader
>>> from workbench.data import ShardSampler, TokenDataset
>>> tokens = TokenDataset("train.zarr", "bundled:efficientnet_lite0@1x")     # doctest: +SKIP
>>> loader = DataLoader(tokens, 64, sampler=ShardSampler(tokens), num_workers=4)  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

import feature_store
from analyses.reading.labelled_tokens import good_rows
from analyses.reading.pooled import Merge, Pooling
from feature_store import FeatureStore, InputError, StoreError, protocol
from feature_store.lazy import refuse_other_positions

SHARDS = 4
"""Shards that are shuffled together, and that a process keeps open."""


class TokenDataset(Dataset):
    """Features and label of each readable image of a store, by number.

    An item is a float32 tensor and a label (an int). Without pooling the tensor is the token map,
    dims (row, col, channel), or (token, channel) if a subset of positions is stored: each token
    is in one item. A batch is read together, and with :class:`ShardSampler` shards are read one
    after the other. A process opens the store for itself, so the dataset may be pickled and
    forked.

    Parameters
    ----------
    store : FeatureStore or str
        A store, its folder or its URL.
    source : str
        ``MODEL[#TAP]@SCALES``; must be complete.
    pooling : {"mean", "prefix"}, optional
        One vector (channel,) per image, as the analyses make it: the mean of its tokens, or the
        first prefix token.
    merge : {"concat", "add"}
        How scales combine on the channel axis.
    label_names : sequence of str, optional
        Number the classes in this order, such as that of the training store; by default the
        store's own. Classes match by name.

    Raises
    ------
    InputError
        Unknown pooling; no prefix tokens; scales that do not fit together.
    StoreError
        The source is not stored, incomplete or (found when values are read) damaged.
    """

    _store: FeatureStore | None
    _kept: OrderedDict[int, list[np.ndarray]]
    _process: int

    def __init__(
        self,
        store: FeatureStore | str | os.PathLike[str],
        source: str,
        pooling: Pooling | None = None,
        *,
        merge: Merge = "concat",
        label_names: Sequence[str] | None = None,
    ) -> None:
        if pooling not in (None, "mean", "prefix"):
            raise InputError(f"pooling is {pooling!r}; choose mean, prefix or None")
        opened = store if isinstance(store, FeatureStore) else feature_store.open(os.fspath(store))
        self.path = opened.path if "://" in opened.path else os.path.abspath(opened.path)
        self.source, self.pooling, self.merge = str(opened.resolve(source)), pooling, merge
        prefix = pooling == "prefix"
        view = (opened.prefix if prefix else opened.features)(source, merge=merge)
        self._array = "prefix" if prefix else "tokens"
        self.shape = tuple(view.shape[1:] if pooling is None else view.shape[-1:])
        """Shape of an item's tensor."""
        self.rows = good_rows(opened, source)
        """(item,) int64: store row of each item; images that could not be read have none."""
        self.label_names = list(opened.label_names if label_names is None else label_names)
        number = {name: n for n, name in enumerate(self.label_names)}
        table = np.array([number.get(name, -1) for name in opened.label_names] + [-1])
        self.labels = table[opened.labels[self.rows]]
        """(item,) int64: index into ``label_names``; -1 = unlabelled, or not among these."""
        self.shards = self.rows // opened.shard_images
        """(item,) int64: shard of each item."""
        self._places = self.rows % opened.shard_images
        self._images = len(opened)
        self._ids_sha256 = protocol.ids_sha256(opened.image_ids)
        self._forget()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        (found,) = self.__getitems__([range(len(self))[item]])
        return found

    def __getitems__(self, items: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        """Several items, read shard by shard; DataLoader asks for batches here."""
        wanted = np.asarray(items)
        values = np.empty((len(wanted), *self.shape), np.float32)
        for shard in np.unique(self.shards[wanted]):
            chosen = np.flatnonzero(self.shards[wanted] == shard)
            values[chosen] = self._read(int(shard), self._places[wanted[chosen]])
        labels = self.labels[wanted].tolist()
        return list(zip(torch.from_numpy(values), labels, strict=True))

    @property
    def image_ids(self) -> np.ndarray:
        """(item,) str: image id of each item."""
        return self._open().image_ids[self.rows]

    def _read(self, shard: int, places: np.ndarray) -> np.ndarray:
        """Some rows of a shard, pooled and merged."""
        parts = [self._pooled(scale[places]) for scale in self._scales(shard)]
        if len(parts) == 1:
            return parts[0]
        if self.merge == "concat":
            return np.concatenate(parts, axis=-1)
        return np.asarray(np.sum(parts, axis=0, dtype=np.float32))

    def _pooled(self, tokens: np.ndarray) -> np.ndarray:
        if self.pooling == "prefix":
            return tokens[:, 0]
        if self.pooling == "mean":
            return tokens.mean(axis=tuple(range(1, tokens.ndim - 1)), dtype=np.float32)
        return tokens

    def _scales(self, shard: int) -> list[np.ndarray]:
        """The arrays of a shard, of those last used: mapped files, or decoded where packed."""
        store = self._open()
        if shard not in self._kept:
            singles = [store.source(single) for single in store.resolve(self.source).singles()]
            refuse_other_positions(singles, shard)
            self._kept[shard] = [single.shard(shard)[self._array] for single in singles]
            if len(self._kept) > SHARDS + 1:  # one more: a batch may lie between two groups
                self._kept.popitem(last=False)
        self._kept.move_to_end(shard)
        return self._kept[shard]

    def _open(self) -> FeatureStore:
        if self._process != os.getpid():
            self._forget()
        if self._store is None:
            opened = feature_store.open(self.path)
            # A store may grow meanwhile: its rows keep their place.
            if protocol.ids_sha256(opened.image_ids[: self._images]) != self._ids_sha256:
                raise StoreError(f"{self.path} holds other images now; make the dataset anew")
            self._store = opened
        return self._store

    def _forget(self) -> None:
        """Drop what belongs to one process."""
        self._store, self._kept, self._process = None, OrderedDict(), os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_store", "_kept")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


class ShardSampler(Sampler[int]):
    """Items in an order that is new in every epoch and still reads shards one after the other.

    Shards are drawn in random order, and the items of several shards at a time are shuffled
    together. Each item comes once per epoch. The order depends on seed and epoch alone.

    Each of several processes gets an equal stretch of this order. The last items, fewer than there
    are processes, are left out of the epoch: unequal numbers of batches would let the processes of
    ``DistributedDataParallel`` wait for each other.

    Parameters
    ----------
    tokens : TokenDataset
    shards : int
        Shards shuffled together, 1 to 4: more are mixed better, and need more memory if they are
        packed.
    seed : int
        The same in all processes.
    rank, world_size : int
        Number of this process, from 0, and of all, as ``torch.distributed`` counts them.
    """

    def __init__(
        self,
        tokens: TokenDataset,
        *,
        shards: int = SHARDS,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 1 <= shards <= SHARDS:
            raise InputError(f"shards is {shards}, expected 1 to {SHARDS}")
        if not 0 <= rank < world_size:
            raise InputError(f"rank is {rank}, expected 0 to {world_size - 1}, below world_size")
        self.tokens, self.together, self.seed, self.epoch = tokens, shards, seed, 0
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(self.tokens) // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Number of the next epoch, from 0; by itself each pass is the next one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return islice(self._order(), self.rank * len(self), (self.rank + 1) * len(self))

    def _order(self) -> Iterator[int]:
        """All items in the order of the epoch."""
        random = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        numbers, starts = np.unique(self.tokens.shards, return_index=True)
        stops = [*starts[1:], len(self.tokens)]
        order = random.permutation(len(numbers))
        for first in range(0, len(order), self.together):
            group = order[first : first + self.together]
            items = np.concatenate([np.arange(starts[k], stops[k]) for k in group])
            yield from random.permutation(items).tolist()
