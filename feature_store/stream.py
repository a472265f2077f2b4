"""Tokens of several stored sources, shard after shard, read ahead in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from feature_store.lazy import as_map, compose, refuse_other_positions
from feature_store.stored_source import StoredSource


@dataclass(frozen=True)
class Batch:
    """Tokens of one shard's good images."""

    index: np.ndarray
    """int64, dims (image,): row numbers in the store."""
    tokens: dict[str, np.ndarray]
    """Name to its tokens in the stored dtype, dims (image, row, col, channel); S2 sources are
    concatenated on the channel axis."""


def batches(
    parts: Mapping[str, list[StoredSource]], shards: Sequence[int] | None
) -> Iterator[Batch]:
    """See :meth:`feature_store.FeatureStore.stream`; `parts` maps names to their scales."""
    arrays = {n: compose(singles, "tokens", "concat", False) for n, singles in parts.items()}
    everything = [single for singles in parts.values() for single in singles]
    failed = {row for single in everything for row in single.failed_rows()}
    first = everything[0]

    def load(shard: int) -> Batch:
        refuse_other_positions(everything, shard)
        rows = first.rows(shard)
        good = np.array([row for row in rows if row not in failed], dtype=np.int64)
        keep = slice(None) if len(good) == len(rows) else good - rows.start
        return Batch(good, {n: as_map(array.block(shard, keep)) for n, array in arrays.items()})

    with ThreadPoolExecutor(max_workers=1) as reader:
        numbers = list(range(first.shard_count) if shards is None else shards)
        ahead = [reader.submit(load, shard) for shard in numbers[:1]]
        for following in [*numbers[1:], None][: len(numbers)]:
            batch = ahead.pop().result()
            if following is not None:
                ahead.append(reader.submit(load, following))
            if len(batch.index):
                yield batch
