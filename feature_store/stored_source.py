"""One stored single-scale source: its arrays, its commit records and its shards, for reading."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from feature_store import protocol
from feature_store.documents import read_attributes
from feature_store.errors import StoreError
from feature_store.metadata import plan_of
from feature_store.objects import Objects
from feature_store.protocol import CommitRecord
from feature_store.source import Source
from feature_store.stored_array import METADATA_REMEDY, DamagedShard, StoredArray

CHECKSUMMED = ("tokens", "prefix", "position")
"""Arrays of a source in the order in which a shard's checksum covers them."""


def read_source(objects: Objects, source: Source) -> dict[str, Any]:
    """Attributes of a source's group, checked; those of version 1 have no seal.

    Raises
    ------
    StoreError
        The group's document is missing, damaged or incomplete.
    """
    where = f"{objects.url}: {source}"
    try:
        attrs = read_attributes(objects, source.group)
        new = set(protocol.SINCE_VERSION_2)
        optional = set() if new & set(attrs) else new
        missing = set(protocol.SOURCE_ATTRIBUTES) - optional - set(attrs)
        if missing:
            raise StoreError(f"it lacks the attributes {', '.join(sorted(missing))}")
        for name, kind in (("manifest", dict), ("identity", str), ("created", str)):
            if not isinstance(attrs[name], kind):
                raise StoreError(f"{name} is {attrs[name]!r}")
        if protocol.identity(attrs["manifest"]) != attrs["identity"]:
            raise StoreError("the manifest does not hash to the identity")
    except StoreError as error:
        raise StoreError(
            f"{where}: the source's attributes are damaged ({error}); {METADATA_REMEDY}"
        ) from error
    return attrs


@dataclass
class StoredSource:
    """Reads the shards of one single-scale source; writes nothing.

    A shard's values are checked against its commit record the first time a process reads them.
    The records, without their lists of images, and the set of checked shards are the only state.
    """

    objects: Objects
    source: Source
    images: int
    shard_images: int
    arrays: dict[str, StoredArray]
    manifest: dict[str, Any]
    identity: str
    created: str
    _records: dict[int, CommitRecord] = field(default_factory=dict, repr=False)
    _checked: set[int] = field(default_factory=set, repr=False)

    @classmethod
    def open(cls, objects: Objects, source: Source, images: int, shard_images: int) -> StoredSource:
        """Read the source's metadata and check them.

        Raises
        ------
        StoreError
            Attributes or arrays are missing or damaged.
        """
        attrs = read_source(objects, source)
        plan = plan_of(attrs, f"{objects.url}: {source}")
        digests = attrs.get("documents", {})
        arrays = {
            name: StoredArray.open(
                objects, source, name, plan, shard_images=shard_images, digest=digests.get(name)
            )
            for name in plan.shapes()
        }
        manifest, identity = attrs["manifest"], attrs["identity"]
        return cls(
            objects, source, images, shard_images, arrays, manifest, identity, attrs["created"]
        )

    @cached_property
    def group(self) -> str:
        """Path of the source inside the store."""
        return self.source.group

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the token map, also where only some of its positions are kept."""
        if self.kept:
            return tuple(self.manifest["subsample"]["grid"])  # type: ignore[return-value]
        return self.arrays["tokens"].shape[1:3]  # type: ignore[return-value]

    @property
    def kept(self) -> int:
        """Token positions kept per image; 0 where whole maps are stored."""
        return self.arrays["position"].shape[1] if "position" in self.arrays else 0

    @property
    def channels(self) -> int:
        return self.arrays["tokens"].shape[-1]

    @property
    def shard_count(self) -> int:
        return math.ceil(self.images / self.shard_images)

    @property
    def bytes_total(self) -> int:
        """Bytes of the finished arrays' values, padding of the last shard not counted."""
        return sum(math.prod(a.shape) * a.dtype.itemsize for a in self.arrays.values())

    def rows(self, shard: int) -> range:
        """Image rows of a shard."""
        start = shard * self.shard_images
        return range(start, min(start + self.shard_images, self.images))

    def record(self, shard: int) -> CommitRecord | None:
        """The shard's commit record without its lists of images, or None if it has none yet.

        ``fingerprints`` and ``files`` are left out: kept for every shard, those of a million
        images would take a quarter of a gigabyte.

        Raises
        ------
        StoreError
            The record is damaged or belongs to another shard or another identity.
        """
        if shard not in self._records:
            record = self.whole_record(shard)
            if record is None:
                return None
            self._keep(shard, record)
        return self._records[shard]

    def _keep(self, shard: int, record: CommitRecord) -> None:
        self._records[shard] = replace(record, fingerprints=[], files=None)

    def _read_records(self) -> None:
        """Read all sound records that are not known yet, from an object store many at a time."""
        unknown = [shard for shard in range(self.shard_count) if shard not in self._records]
        keys = [protocol.record_key(self.group, shard) for shard in unknown]
        for shard, data in zip(unknown, self.objects.get_each(keys), strict=True):
            if data is not None:
                with contextlib.suppress(StoreError):  # raised where the shard is read
                    self._keep(shard, self._parsed(shard, data))

    def whole_record(self, shard: int) -> CommitRecord | None:
        """As :meth:`record`, with its lists of images; read anew at each call."""
        data = self.objects.get(protocol.record_key(self.group, shard))
        return None if data is None else self._parsed(shard, data)

    def _parsed(self, shard: int, data: bytes) -> CommitRecord:
        key = protocol.record_key(self.group, shard)
        record = CommitRecord.from_json(data, f"{self.objects.url}/{key}")
        if record.shard != shard or record.identity != self.identity:
            raise StoreError(
                f"commit record {self.objects.url}/{key} belongs to shard {record.shard} of "
                f"identity {record.identity[:12]}, expected shard {shard} of "
                f"{self.identity[:12]}; run `workbench extract` again to redo the shard"
            )
        return record

    def forget(self, shard: int) -> None:
        """Drop the cached record of a shard, because a new one was just written."""
        self._records.pop(shard, None)
        self._checked.discard(shard)

    def is_committed(self, shard: int) -> bool:
        """Whether a valid record covers the shard's rows (data not read).

        The record covers more rows where another process grew the store in the meantime.
        """
        with contextlib.suppress(StoreError):
            self.record(shard)
        return self._is_covered(shard)

    def _is_covered(self, shard: int) -> bool:
        record, rows = self._records.get(shard), self.rows(shard)
        return record is not None and record.start == rows.start and record.stop >= rows.stop

    def missing(self) -> list[int]:
        """Numbers of the shards that are not committed; the unit of resumption."""
        self._read_records()
        return [shard for shard in range(self.shard_count) if not self._is_covered(shard)]

    def committed_records(self) -> list[CommitRecord]:
        """Records of the committed shards, in shard order."""
        self._read_records()
        return [self._records[s] for s in range(self.shard_count) if self._is_covered(s)]

    def status_of(self, shard: int) -> np.ndarray:
        """(n,) uint8: codes of ``protocol.STATUS`` that a committed shard's record implies."""
        record = self.record(shard)
        failed = record.failed_rows() if record else {}
        codes = {name: code for code, name in enumerate(protocol.STATUS)}
        states = ("decode_failed" if row in failed else "ok" for row in self.rows(shard))
        return np.array([codes[state] for state in states], dtype=np.uint8)

    def failed_rows(self) -> dict[int, str]:
        """Row number to reason, over all committed shards."""
        return {
            row: reason
            for record in self.committed_records()
            for row, reason in record.failed_rows().items()
        }

    def float16_relative_rms(self) -> float | None:
        """Relative error of the stored dtype, measured when the committed shards were written.

        sqrt(sum of squared rounding errors / sum of squares); None before the first commit, 0 for
        float32.
        """
        records = self.committed_records()
        total = sum(record.square_sum for record in records)
        error = sum(record.square_error for record in records)
        return (error / total) ** 0.5 if total else None

    def shard(self, shard: int) -> dict[str, np.ndarray]:
        """Decoded values of a committed shard, read-only: array name to (images, ...).

        Raises
        ------
        StoreError
            Not committed, or the data are missing or do not match the commit record.
        """
        if not self.is_committed(shard):
            self.record(shard)  # raises for a damaged record
            raise StoreError(self._incomplete_message([shard]))
        count = len(self.rows(shard))
        return {name: values[:count] for name, values in self.committed_values(shard).items()}

    def committed_values(self, shard: int) -> dict[str, np.ndarray]:
        """As :meth:`shard`, but only the rows in the record, also after the store has grown."""
        record = self.record(shard)
        if record is None:
            raise StoreError(self._incomplete_message([shard]))
        count = record.stop - record.start
        try:
            values = {name: self.arrays[name].read(shard, count) for name in self.checksum_order()}
            if shard not in self._checked:
                actual = protocol.checksum(*values.values())
                if actual != record.checksum:
                    raise DamagedShard(
                        f"its values have checksum {actual[:12]}, its record {record.checksum[:12]}"
                    )
                self._checked.add(shard)
        except DamagedShard as error:
            url = self.objects.url
            raise StoreError(
                f"{url}: shard {shard} of {self.source} is damaged: {error}. Run `workbench "
                f"verify {url}` to list and withdraw every damaged shard; the next `workbench "
                f"extract` computes exactly those again"
            ) from error
        return values

    def padding_is_clean(self, shard: int) -> bool:
        """Whether a raw shard's values beyond the last image are all the fill value."""
        covered = self._covered(shard)
        return covered == self.shard_images or all(
            array.padding_is_clean(shard, covered) for array in self.arrays.values()
        )

    def has_files(self, shard: int) -> bool:
        """Whether the shard's files exist in full size; object stores are not asked."""
        return all(array.has_file(shard) for array in self.arrays.values())

    def _covered(self, shard: int) -> int:
        """Number of rows of the shard, in its record or in this store, whichever has more."""
        record = self.record(shard)
        committed = record.stop - record.start if record else 0
        return max(committed, len(self.rows(shard)))

    def require_complete(self) -> None:
        """Refuse an incomplete source.

        Raises
        ------
        StoreError
            Some shards are missing; the message counts them and gives the remedy.
        """
        missing = self.missing()
        if missing:
            raise StoreError(self._incomplete_message(missing))

    def _incomplete_message(self, missing: list[int]) -> str:
        return (
            f"{self.objects.url}: {self.source} is incomplete: {len(missing)} of "
            f"{self.shard_count} shards are missing. Repeat the `workbench extract` command to "
            f"finish it, or read it with allow_incomplete=True (missing rows are NaN)"
        )

    def checksum_order(self) -> list[str]:
        """Names of the arrays in the order of the checksum: tokens, prefix, position."""
        return [name for name in CHECKSUMMED if name in self.arrays]
