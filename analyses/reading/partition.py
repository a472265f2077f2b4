"""A pass over a store in pieces, so that many processes can share it and the answer is the same.

Where the pieces begin depends on the store alone, never on who runs them; what a piece gives is
merged pairwise. This package knows no cluster: an :class:`Engine` is handed in.
"""

from __future__ import annotations

import functools
import math
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import feature_store
from analyses.reading import grids
from feature_store import FeatureStore

PIECE_IMAGES = 4096
"""Images of a piece, rounded down to whole shards: seconds to minutes of work."""
MOST_PIECES = 4096
"""Larger stores have larger pieces: a scheduler holds so many tasks without noticing."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Piece:
    """Some consecutive shards of a store, by name: what a task is told."""

    path: str
    """Where the store lies; absolute where it is a folder."""
    shards: range
    """Shard numbers."""
    token: str
    """The same for the pieces of one pass: within it a process opens the store once."""

    def open(self) -> FeatureStore:
        """The store, as this process opened it first in this pass."""
        return _opened(self.path, self.token)


class Engine(Protocol):
    """Runs a function, which must pickle, on every piece, wherever that may be."""

    def map(self, function: Callable[[Piece], Result], items: Sequence[Piece]) -> Iterator[Result]:
        """Results in the order of the pieces."""

    def reduce(
        self,
        function: Callable[[Piece], Result],
        merge: Callable[[Result, Result], Result],
        items: Sequence[Piece],
    ) -> Result:
        """The results merged, neighbours first; `merge` is associative and keeps the order."""


def pieces(store: FeatureStore) -> list[Piece]:
    """The pieces of a store, in order; at least one, since no store is without images."""
    count = math.ceil(len(store) / store.shard_images)
    size = piece_images(store) // store.shard_images
    path = store.path if "://" in store.path else os.path.abspath(store.path)
    token = uuid.uuid4().hex
    return [Piece(path, range(k, min(k + size, count)), token) for k in range(0, count, size)]


def piece_images(store: FeatureStore) -> int:
    """Images of every piece of a store but the last."""
    images = max(PIECE_IMAGES, math.ceil(len(store) / MOST_PIECES))
    return max(images // store.shard_images, 1) * store.shard_images


def stream(piece: Piece, sources: Sequence[str], grid: str = "same") -> Iterator[Any]:
    """Batches of a piece, maps pooled to their common grid with ``grid="pool"``."""
    found = piece.open().stream(list(sources), shards=piece.shards)
    return grids.pooled(found, sources) if grid == "pool" else found


@functools.lru_cache(maxsize=2)  # training and test store
def _opened(path: str, token: str) -> FeatureStore:
    return feature_store.open(path)
