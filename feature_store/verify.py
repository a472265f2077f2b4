"""Read a whole store again and report every problem."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from feature_store import protocol
from feature_store.errors import StoreError, UnreadableError
from feature_store.image_arrays import document_problems
from feature_store.listing import stored_sources
from feature_store.metadata import is_group
from feature_store.objects import Objects
from feature_store.protocol import CommitRecord
from feature_store.status import agrees, put_status
from feature_store.store import FeatureStore
from feature_store.stored_source import StoredSource


@dataclass(frozen=True)
class Problem:
    """One problem of a shard, of a source's metadata, or of the root."""

    where: str
    """Source name, or ``store`` for the root."""
    shard: int | None
    """Shard number, None for metadata."""
    kind: str
    """missing (not computed yet), damaged (was committed), unreadable (an I/O error), metadata,
    status (a chunk of the status array that contradicts all commit records)."""
    reason: str
    """One line."""

    def __str__(self) -> str:
        shard = "" if self.shard is None else f" shard {self.shard}"
        return f"{self.where}{shard}: {self.kind}: {self.reason}"


@dataclass
class Report:
    """Result of :func:`verify`."""

    problems: list[Problem] = field(default_factory=list)
    """Empty for a complete, undamaged store."""
    shards: int = 0
    """Shards that were read and checked."""
    bytes_read: int = 0
    """Bytes that were read and checked."""
    seconds: float = 0.0
    """Wall time in seconds."""

    @property
    def gb_per_s(self) -> float:
        """Checked bytes per second, in units of 1e9."""
        return self.bytes_read / max(self.seconds, 1e-9) / 1e9


def verify(store: FeatureStore, *, progress: Callable[[int], None] = lambda count: None) -> Report:
    """Check the root, every source's metadata, and every shard against its commit record.

    Writes nothing and never raises for damage. :func:`withdraw` lets the next extraction repair it.

    Parameters
    ----------
    store : FeatureStore
        Freshly opened, because shards that a store object has checked are not read again.
    progress : callable
        Called with 1 after each shard.
    """
    report = Report()
    start = time.perf_counter()
    report.problems += _root_problems(store)
    report.problems += _hierarchy_problems(store)
    sources = []
    for name in store.sources():
        try:
            source = store.source(name)
            sources.append(source)
            report.problems += _length_problems(source)
        except StoreError as error:
            report.problems.append(Problem(name, None, "metadata", _line(error)))
    try:
        ids = store.image_ids
    except StoreError:  # listed above
        ids = None
    for source in sources:
        for shard in range(source.shard_count):
            report.problems += _shard_problems(source, shard, ids, report)
            progress(1)
    report.problems += _status_problems(store, sources)
    report.seconds = time.perf_counter() - start
    return report


def withdraw(store: FeatureStore, problems: list[Problem]) -> int:
    """Withdraw the commits of damaged shards, so that the next extraction computes exactly those.

    The record is renamed to ``NNNNNN.withdrawn``; the shard's data stay until they are replaced. A
    wrong chunk of the status array is rewritten from the commit records. Returns the number of
    withdrawn commits.

    Raises
    ------
    OSError
        The store cannot be written.
    """
    for problem in problems:
        if problem.kind == "status":
            _rewrite_status(store, problem.shard or 0)
    damaged = [p for p in problems if p.kind == "damaged" and p.shard is not None]
    for problem in damaged:
        source = store.source(problem.where)
        key = protocol.record_key(source.group, problem.shard or 0)
        try:
            data = store.objects.get(key)
        except StoreError:  # not a file; the next extraction replaces it
            continue
        if data is not None:
            store.objects.put(key.removesuffix(".json") + ".withdrawn", data)
            store.objects.delete(key)
            source.forget(problem.shard or 0)
    return len(damaged)


def _rewrite_status(store: FeatureStore, shard: int) -> None:
    for name in store.sources():
        source = store.source(name)
        if source.is_committed(shard):
            put_status(store.objects, shard, source.status_of(shard), store.shard_images)
            return


def _root_problems(store: FeatureStore) -> Iterator[Problem]:
    for read in (lambda: store.image_ids, lambda: store.labels):
        try:
            read()
        except StoreError as error:
            yield Problem("store", None, "metadata", _line(error))
    for line in document_problems(store.objects, store.attrs):
        yield Problem("store", None, "metadata", line)


def _hierarchy_problems(store: FeatureStore) -> Iterator[Problem]:
    """Groups above the sources must be readable, and every source must have its attributes."""
    known = {source.group for source in stored_sources(store.objects)}
    for path in _folders(store.objects, "features", 3):
        if path.count("/") == 3 and path not in known:
            what = "has arrays but no source attributes (an interrupted creation)"
            if "tokens" in store.objects.names(path):
                yield Problem("store", None, "metadata", f"{path} {what}")
        elif path not in known and not is_group(store.objects, path):
            yield Problem("store", None, "metadata", f"{path}/zarr.json is missing or damaged")


def _folders(objects: Objects, path: str, depth: int) -> Iterator[str]:
    """The folder and those below it, down to `depth` levels; nothing if it is empty."""
    names = objects.names(path)
    if names:
        yield path
    if depth:
        for name in names:
            if name != "zarr.json":
                yield from _folders(objects, f"{path}/{name}", depth - 1)


def _length_problems(source: StoredSource) -> Iterator[Problem]:
    for array in source.arrays.values():
        if array.shape[0] != source.images:
            reason = f"{array.name} has {array.shape[0]} rows for {source.images} images"
            yield Problem(str(source.source), None, "metadata", reason)


def _shard_problems(
    source: StoredSource, shard: int, ids: np.ndarray | None, report: Report
) -> Iterator[Problem]:
    name = str(source.source)
    try:
        record = source.record(shard)
        if record is None:
            yield Problem(name, shard, "missing", "not computed yet")
            return
        if ids is not None and not _names(record, ids):
            yield Problem(name, shard, "damaged", "its commit record is of other image ids")
            return
        if not source.is_committed(shard):
            reason = f"rows {record.start} to {record.stop} of {source.rows(shard)}"
            yield Problem(name, shard, "missing", reason)
            return
        values = source.shard(shard)
        padding = source.padding_is_clean(shard)
        report.shards += 1
        report.bytes_read += sum(v.nbytes for v in values.values())
    except (UnreadableError, OSError) as error:  # proves no damage: never withdrawn
        yield Problem(name, shard, "unreadable", _line(error))
        return
    except StoreError as error:
        yield Problem(name, shard, "damaged", _line(error))
        return
    if not padding:
        yield Problem(name, shard, "damaged", "values beyond the last image are not the fill value")


def _names(record: CommitRecord, ids: np.ndarray) -> bool:
    """Whether a record is of these ids; one of version 1, or of later rows, does not tell."""
    if not record.image_ids_sha256 or record.stop > len(ids):
        return True
    return record.image_ids_sha256 == protocol.ids_sha256(ids[record.start : record.stop])


def _status_problems(store: FeatureStore, sources: list[StoredSource]) -> Iterator[Problem]:
    """Each chunk of the status array must agree with one commit record of its shard."""
    for shard in range(-(-len(store) // store.shard_images)):
        committed = [source for source in sources if source.is_committed(shard)]
        if committed and not any(agrees(store.objects, source, shard) for source in committed):
            yield Problem("store", shard, "status", "contradicts all commit records")


def _line(error: BaseException) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
