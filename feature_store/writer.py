"""Writes shards and their commit records: data first, record last, each as one whole object."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_store import protocol
from feature_store.casting import CastStatistics, largest_bits
from feature_store.errors import InputError, StoreError
from feature_store.metadata import FILL, encoded_shard
from feature_store.protocol import CommitRecord
from feature_store.root import read_root
from feature_store.status import put_status
from feature_store.stored_source import StoredSource
from feature_store.subsample import keep, positions


class FeatureRangeError(InputError):
    """Features do not fit the stored dtype; the shard was not written."""


@dataclass(frozen=True, kw_only=True)
class ShardImages:
    """Facts about the images in a commit record, one entry per row."""

    fingerprints: list[str]
    """:func:`feature_store.protocol.fingerprint` of each image; empty where unknown."""
    files: list[list[int] | None] | None = None
    """[bytes, modification time in ns] of each file; None where the dataset has no files."""

    @classmethod
    def unknown(cls, rows: int) -> ShardImages:
        """Facts about images that the writer has not read."""
        return cls(fingerprints=[""] * rows)

    @classmethod
    def after(cls, old: CommitRecord | None, new: ShardImages) -> ShardImages:
        """Rows of a record that was written before the store grew, then new rows."""
        if old is None:
            return new
        count = old.stop - old.start
        files = None
        if old.files is not None or new.files is not None:
            before = old.files or [None] * count
            files = [*before, *(new.files or [None] * len(new.fingerprints))]
        known = old.fingerprints or [""] * count
        return cls(fingerprints=[*known, *new.fingerprints], files=files)


class SourceWriter:
    """Commits the shards of one single-scale source.

    One writer computes a whole shard; a committed shard is never partly rewritten.
    """

    def __init__(self, stored: StoredSource, image_ids: np.ndarray) -> None:
        self.stored = stored
        self._image_ids = image_ids

    @property
    def source(self) -> str:
        """Full name of the source."""
        return str(self.stored.source)

    def missing(self) -> list[int]:
        """Shards without a valid commit record, or whose files are missing or of another size."""
        missing, stored = set(self.stored.missing()), self.stored
        return [s for s in range(stored.shard_count) if s in missing or not stored.has_files(s)]

    def is_done(self, shard: int) -> bool:
        """Whether the shard is committed and its files exist; reads no values."""
        return self.stored.is_committed(shard) and self.stored.has_files(shard)

    def rows(self, shard: int) -> range:
        """Image rows of a shard."""
        return self.stored.rows(shard)

    def todo(self, shard: int) -> range:
        """Image rows of a shard to compute.

        All rows, except in the last shard of a store that grew: rows committed before stay.
        """
        rows = self.rows(shard)
        return range(rows.start + len(self._kept(shard)[0]), rows.stop)

    def _kept(self, shard: int) -> tuple[range, dict[str, np.ndarray], CommitRecord | None]:
        """Rows, values and record of a shard that was committed before the store grew."""
        rows = self.rows(shard)
        try:
            record = self.stored.record(shard)
            if record and record.start == rows.start and record.stop < rows.stop:
                kept = range(record.start, record.stop)
                values = self.stored.committed_values(shard)
                return kept, values, self.stored.whole_record(shard)
        except StoreError:  # damaged: the whole shard is computed again
            pass
        return range(rows.start, rows.start), {}, None

    def commit(
        self,
        shard: int,
        tokens: np.ndarray,
        prefix: np.ndarray | None = None,
        failed: Mapping[int, str] | None = None,
        statistics: CastStatistics | None = None,
        images: ShardImages | None = None,
    ) -> CommitRecord:
        """Write one shard, then its record.

        Parameters
        ----------
        tokens : (n, row, col, channel) float
            Whole maps of the n rows of :meth:`todo`; rows in `failed` are stored as NaN. If the
            source keeps a subset of positions, this method selects them.
        prefix : (n, prefix, channel) float, optional
            Prefix tokens, if the source has any.
        failed : mapping of int to str
            Row number to reason, for images that could not be read.
        statistics : CastStatistics, optional
            Statistics of the good rows before the cast, if the values already have the stored
            dtype; without them, values count as exact.
        images : ShardImages, optional
            What the record keeps of the images of the n rows.

        Raises
        ------
        FeatureRangeError
            A good row contains a non-finite value, or one beyond the range of the stored dtype.
        InputError
            A shape differs from that of the source.
        """
        failed = dict(failed or {})
        self._refuse_growth()
        rows = self.todo(shard)
        todo = len(rows)
        given = self._given(rows, tokens, prefix)
        kept, before, old = self._kept(shard)
        good = np.array([row not in failed for row in rows], dtype=bool)
        stored, counted = {}, CastStatistics.after(old)
        for name, layout in self.stored.arrays.items():
            if name not in given or given[name].shape != (len(rows), *layout.shape[1:]):
                found = given[name].shape if name in given else "nothing"
                raise InputError(
                    f"{self.source}: {name} of shard {shard} has shape {found}, expected "
                    f"{(len(rows), *layout.shape[1:])}"
                )
            stored[name] = (
                given[name]
                if name == "position"
                else self._cast(given[name], good, layout.dtype, counted, statistics)
            )
            if len(kept):
                stored[name] = np.concatenate([before[name], stored[name]])
        if statistics is not None:
            counted.merge(statistics)
        if old:
            failed |= old.failed_rows()
        rows = self.rows(shard)
        good = np.array([row not in failed for row in rows], dtype=bool)
        for name, values in stored.items():
            self._put(name, shard, values)
        codes = [protocol.STATUS.index("ok" if one else "decode_failed") for one in good]
        put_status(self.stored.objects, shard, np.array(codes), self.stored.shard_images)
        record = CommitRecord(
            shard=shard,
            start=rows.start,
            stop=rows.stop,
            identity=self.stored.identity,
            checksum=protocol.checksum(*(stored[n] for n in self.stored.checksum_order())),
            failed={str(row): reason for row, reason in failed.items()},
            max_abs=counted.max_abs,
            square_sum=counted.square_sum,
            square_error=counted.square_error,
            writer=f"{socket.gethostname()}:{os.getpid()}",
            written=protocol.now(),
            image_ids_sha256=protocol.ids_sha256(self._image_ids[rows.start : rows.stop]),
            **vars(ShardImages.after(old, images or ShardImages.unknown(todo))),
        )
        self.stored.objects.put(protocol.record_key(self.stored.group, shard), record.to_json())
        self.stored.forget(shard)
        return record

    def _refuse_growth(self) -> None:
        """Refuse to write if another process has added images since this store was opened."""
        now = read_root(self.stored.objects)["image_count"]
        if now != self.stored.images:
            raise StoreError(
                f"{self.stored.objects.url} grew from {self.stored.images} to {now} images while "
                f"this command ran; repeat the command to resume, nothing is lost"
            )

    def _given(
        self, rows: range, tokens: np.ndarray, prefix: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """The arrays to store; selects the kept positions of whole maps, if they are a subset."""
        given = {"tokens": tokens} if prefix is None else {"tokens": tokens, "prefix": prefix}
        if self.stored.kept:
            grid = tokens.shape[1:3]
            if grid != self.stored.grid:
                raise InputError(
                    f"{self.source}: token grid is {grid}, expected {self.stored.grid}"
                )
            ids = self._image_ids[rows.start : rows.stop]
            seed = self.stored.manifest["subsample"]["seed"]
            given["position"] = positions(list(ids), self.stored.grid, self.stored.kept, seed)
            given["tokens"] = keep(tokens, given["position"])
        return given

    def _cast(
        self,
        values: np.ndarray,
        good: np.ndarray,
        dtype: np.dtype,
        counted: CastStatistics,
        known: CastStatistics | None,
    ) -> np.ndarray:
        """Values in the stored dtype; good rows are checked, other rows are NaN."""
        limit = float(np.finfo(dtype).max)
        out = values
        if values.dtype != dtype or not good.all():
            out = np.full(values.shape, np.nan, dtype)
        # The check below finds and refuses overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            for row in np.nonzero(good)[0]:  # one image at a time, to stay in the cache
                if out is not values:
                    out[row] = values[row]
                if known is None:
                    largest = counted.add(values[row], out[row])
                else:
                    stored = largest_bits(out[row])
                    largest = stored if known.max_abs <= limit else known.max_abs
                if not largest <= limit:
                    raise FeatureRangeError(self._range_message(values[good], dtype, largest))
        return out

    def _range_message(self, values: np.ndarray, dtype: np.dtype, largest: float) -> str:
        limit = float(np.finfo(dtype).max)
        channels = np.unique(np.nonzero(~(np.abs(values) <= limit))[-1])
        remedy = "Extract into another store with --dtype float32"
        if not np.isfinite(largest):
            remedy += (
                " and --arithmetic fp32; if the error persists, the model returns non-finite values"
            )
        return (
            f"{self.source}: features do not fit {dtype.name}: largest absolute value {largest:g} "
            f"(limit {limit:g}), in {len(channels)} channel(s), first {channels[:5].tolist()}. "
            f"The shard was not written. {remedy}"
        )

    def _put(self, name: str, shard: int, values: np.ndarray) -> None:
        layout = self.stored.arrays[name]
        padding = self.stored.shard_images - len(values)
        if padding:
            fill = np.full((padding, *values.shape[1:]), FILL[name], layout.dtype)
            values = np.concatenate([values, fill])
        key = protocol.shard_key(self.stored.group, name, shard, values.ndim)
        raw = layout.raw
        data = np.ascontiguousarray(values) if raw else encoded_shard(layout.document, values)
        self.stored.objects.put(key, data)
