"""The parts of a store that a pass reads one by one, in this process or on many workers.

The boundaries of partitions depend on the store alone, never on their reader.
"""

from __future__ import annotations

import functools
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

import feature_store
from analyses.reading.features import Batch, Features, Stream
from feature_store import FeatureStore

PARTITION_IMAGES = 4096
"""Images of a partition, rounded down to whole shards: seconds to minutes of work."""
MOST_PARTITIONS = 4096
"""Largest number of partitions, for the scheduler; larger stores have larger partitions."""


class Part(Protocol):
    """Some consecutive images of a split."""

    def stream(self, sources: Sequence[str], done: np.ndarray | None) -> Iterator[Batch]:
        """Batches of tokens; rows that `done` marks may be left out."""


@dataclass(frozen=True)
class Partition:
    """Some consecutive shards of a store."""

    path: str
    """Path or URL of the store; folders are absolute."""
    shards: range
    """Shard numbers."""
    token: str
    """Common to the partitions of one pass, so that another process opens the store once."""
    store: FeatureStore | None = field(default=None, repr=False, compare=False)
    """The store itself; does not travel to other processes."""

    def open(self) -> FeatureStore:
        """The store: in another process, as it was first opened there in this pass."""
        return _opened(self.path, self.token) if self.store is None else self.store

    def stream(self, sources: Sequence[str], done: np.ndarray | None = None) -> Iterator[Batch]:
        """Batches of these shards; stored tokens are cheap to read, so none are left out."""
        return self.open().stream(list(sources), shards=self.shards)

    @property
    def rows(self) -> slice:
        """Row numbers of the images."""
        images = self.open().shard_images
        return slice(self.shards.start * images, self.shards.stop * images)

    def __reduce__(self) -> tuple:
        return Partition, (self.path, self.shards, self.token)


@dataclass(frozen=True)
class Whole:
    """All images of a stream, which only this process can read."""

    features: Stream

    def stream(self, sources: Sequence[str], done: np.ndarray | None = None) -> Iterator[Batch]:
        return self.features.stream(list(sources), done=done)


def parts(features: Features) -> Sequence[Part]:
    """The partitions of a store; a stream whole."""
    return partitions(features) if isinstance(features, FeatureStore) else [Whole(features)]


def partitions(store: FeatureStore) -> list[Partition]:
    """The partitions of a store, in order; at least one, since every store has images."""
    count = math.ceil(len(store) / store.shard_images)
    size = partition_images(store) // store.shard_images
    path = store.path if "://" in store.path else os.path.abspath(store.path)
    token = uuid.uuid4().hex
    starts = range(0, count, size)
    return [Partition(path, range(k, min(k + size, count)), token, store) for k in starts]


def partition_images(store: FeatureStore) -> int:
    """Images of every partition of a store but the last."""
    images = max(PARTITION_IMAGES, math.ceil(len(store) / MOST_PARTITIONS))
    return max(images // store.shard_images, 1) * store.shard_images


@functools.lru_cache(maxsize=2)  # training and test store
def _opened(path: str, token: str) -> FeatureStore:
    return feature_store.open(path)
