"""The status array: a summary of the commit records for plain readers of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from feature_store.errors import StoreError
from feature_store.objects import Objects
from feature_store.stored_source import StoredSource


def checked_status(objects: Objects, images: int, sources: Sequence[StoredSource]) -> np.ndarray:
    """(image,) uint8: codes of :data:`protocol.STATUS`; 0 (pending) if nothing is committed.

    Raises
    ------
    StoreError
        A stored chunk contradicts the commit records of all sources.
    """
    codes = np.zeros(images, np.uint8)
    for shard in range(sources[0].shard_count if sources else 0):
        committed = [s.status_of(shard) for s in sources if s.is_committed(shard)]
        if not committed:
            continue
        found = stored_status(objects, sources[0], shard)
        if not any(np.array_equal(found, codes) for codes in committed):
            raise StoreError(
                f"{objects.url}: chunk {shard} of the status array is damaged; `workbench verify "
                f"{objects.url}` rewrites it from the commit records"
            )
        codes[sources[0].rows(shard).start : sources[0].rows(shard).stop] = found
    return codes


def stored_status(objects: Objects, source: StoredSource, shard: int) -> np.ndarray:
    """A chunk of the status array as it is stored; empty if it is missing or of another size."""
    data = _chunk(objects, shard)
    whole = np.frombuffer(data, np.uint8) if len(data) == source.shard_images else np.zeros(0)
    return whole[: len(source.rows(shard))]


def _chunk(objects: Objects, shard: int) -> bytes:
    """A chunk's bytes; none where it is missing or is not a file: records replace it."""
    try:
        return objects.get(status_key(shard)) or b""
    except StoreError:
        return b""


def repair_status(
    objects: Objects, written: Sequence[StoredSource], others: Callable[[], list[StoredSource]]
) -> list[int]:
    """Rewrite chunks of the status array that contradict all commit records; returns their numbers.

    Parameters
    ----------
    written : sequence of StoredSource
        Sources whose committed shards are looked at.
    others : callable
        All sources that can be read; called only where a chunk contradicts those.
    """
    repaired = []
    for shard in range(written[0].shard_count if written else 0):
        committed = [source for source in written if source.is_committed(shard)]
        if not committed or any(agrees(objects, source, shard) for source in committed):
            continue
        more = [source for source in others() if source.is_committed(shard)]
        if not any(agrees(objects, source, shard) for source in more):
            codes = committed[0].status_of(shard)
            put_status(objects, shard, codes, committed[0].shard_images)
            repaired.append(shard)
    return repaired


def agrees(objects: Objects, source: StoredSource, shard: int) -> bool:
    """Whether a chunk of the status array is that of a committed shard, with its padding."""
    record, rows = source.record(shard), len(source.rows(shard))
    whole = np.frombuffer(_chunk(objects, shard), np.uint8)
    if record is None or len(whole) != source.shard_images:
        return False
    last = max(rows, record.stop - record.start)  # more where another process grew the store
    return np.array_equal(whole[:rows], source.status_of(shard)) and not whole[last:].any()


def put_status(objects: Objects, shard: int, codes: np.ndarray, shard_images: int) -> None:
    """Write a chunk of the status array, padded with 0."""
    chunk = np.zeros(shard_images, np.uint8)
    chunk[: len(codes)] = codes
    objects.put(status_key(shard), chunk)


def status_key(shard: int) -> str:
    """Key of a chunk of the status array."""
    return f"status/c.{shard}"
