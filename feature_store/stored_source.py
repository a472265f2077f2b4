"""One stored single-scale source: its arrays, its commit records and its shards, for reading."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import zarr

from feature_store import protocol
from feature_store.errors import StoreError
from feature_store.metadata import FILL, created_plan
from feature_store.objects import Objects
from feature_store.protocol import CommitRecord
from feature_store.source import Source

CHECKSUMMED = ("tokens", "prefix", "position")
"""Arrays of a source in the order in which a shard's checksum goes over them."""
_METADATA_REMEDY = "the same `workbench extract` command puts them back (no features are lost)"


@dataclass(frozen=True)
class ArrayLayout:
    """Where the shards of one array lie and how they decode.

    Attributes
    ----------
    name : str
        ``tokens`` or ``prefix``.
    shape : tuple of int
        (image, row, col, channel) or (image, prefix, channel).
    dtype : numpy.dtype
        Stored dtype.
    raw : bool
        One uncompressed chunk per shard with the plain ``bytes`` codec: the shard's object is the
        C-order little-endian array, so it can be memory-mapped.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    raw: bool


@dataclass
class StoredSource:
    """Reads the shards of one single-scale source; writes nothing.

    A shard's values are checked against its commit record the first time that a process touches
    it. The parsed records and the set of checked shards are the only state.
    """

    objects: Objects
    source: Source
    images: int
    shard_images: int
    arrays: dict[str, ArrayLayout]
    manifest: dict[str, Any]
    identity: str
    created: str
    _records: dict[int, CommitRecord] = field(default_factory=dict, repr=False)
    _checked: set[int] = field(default_factory=set, repr=False)

    @classmethod
    def open(cls, objects: Objects, source: Source, images: int, shard_images: int) -> StoredSource:
        """Read the source's metadata.

        Raises
        ------
        StoreError
            Attributes or arrays are missing or unreadable.
        """
        group = zarr.open_group(
            objects.zarr_store, path=source.group, mode="r", use_consolidated=False
        )
        missing = [a for a in protocol.SOURCE_ATTRIBUTES if a not in group.attrs]
        if missing:
            raise StoreError(f"{objects.url}: {source} lacks the attributes {missing}")
        attrs: dict[str, Any] = group.attrs.asdict()
        shapes = created_plan(objects, source).shapes()
        arrays = {name: _layout(name, _opened(objects, source, name)) for name in shapes}
        for name, shape in shapes.items():
            if arrays[name].shape[1:] != shape:
                raise StoreError(
                    f"{objects.url}: {name} of {source} has shape {arrays[name].shape}, expected "
                    f"(image, {', '.join(map(str, shape))}); {_METADATA_REMEDY}"
                )
        return cls(
            objects,
            source,
            images,
            shard_images,
            arrays,
            dict(attrs["manifest"]),
            str(attrs["identity"]),
            str(attrs["created"]),
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
        """The shard's commit record, or None where there is none yet.

        Raises
        ------
        StoreError
            The record is damaged or belongs to another shard or another identity.
        """
        if shard not in self._records:
            key = protocol.record_key(self.group, shard)
            data = self.objects.get(key)
            if data is None:
                return None
            record = CommitRecord.from_json(data, f"{self.objects.url}/{key}")
            if record.shard != shard or record.identity != self.identity:
                raise StoreError(
                    f"commit record {self.objects.url}/{key} belongs to shard {record.shard} of "
                    f"identity {record.identity[:12]}, expected shard {shard} of "
                    f"{self.identity[:12]}; run `workbench extract` again to redo the shard"
                )
            self._records[shard] = record
        return self._records[shard]

    def forget(self, shard: int) -> None:
        """Drop what is remembered of a shard, because its record was just written."""
        self._records.pop(shard, None)
        self._checked.discard(shard)

    def is_committed(self, shard: int) -> bool:
        """Whether a valid record covers the shard's rows (data not read).

        It may cover more, where another process has grown the store since this one opened it.
        """
        try:
            record = self.record(shard)
        except StoreError:
            return False
        rows = self.rows(shard)
        return record is not None and record.start == rows.start and record.stop >= rows.stop

    def missing(self) -> list[int]:
        """Numbers of the shards that are not committed; the unit of resumption."""
        return [shard for shard in range(self.shard_count) if not self.is_committed(shard)]

    def status_of(self, shard: int) -> np.ndarray:
        """(n,) uint8, codes of ``protocol.STATUS`` for a committed shard's rows, by its record."""
        record = self.record(shard)
        failed = record.failed_rows() if record else {}
        codes = {name: code for code, name in enumerate(protocol.STATUS)}
        states = ("decode_failed" if row in failed else "ok" for row in self.rows(shard))
        return np.array([codes[state] for state in states], dtype=np.uint8)

    def failed_rows(self) -> dict[int, str]:
        """Row to reason over all committed shards."""
        failed: dict[int, str] = {}
        for shard in range(self.shard_count):
            if self.is_committed(shard):
                record = self.record(shard)
                assert record is not None
                failed |= record.failed_rows()
        return failed

    def shard(self, shard: int) -> dict[str, np.ndarray]:
        """Decoded values of a committed shard, read-only: array name to (images, ...).

        Raises
        ------
        StoreError
            Not committed, or the data are missing or do not match the commit record.
        """
        if not self.is_committed(shard):
            self.record(shard)  # a damaged record says so itself
            raise StoreError(self._incomplete_message([shard]))
        count = len(self.rows(shard))
        return {name: values[:count] for name, values in self.committed_values(shard).items()}

    def committed_values(self, shard: int) -> dict[str, np.ndarray]:
        """As :meth:`shard`, for the rows that the record covers, even if the store has grown."""
        record = self.record(shard)
        if record is None:
            raise StoreError(self._incomplete_message([shard]))
        rows = range(record.start, record.stop)
        values = {name: self._read(layout, shard, rows) for name, layout in self.checksummed()}
        if shard not in self._checked:
            found = protocol.checksum(*values.values())
            if found != record.checksum:
                what = f"its values have checksum {found[:12]}, its record {record.checksum[:12]}"
                raise StoreError(self._damaged_message(shard, what))
            self._checked.add(shard)
        return values

    def padding_is_clean(self, shard: int) -> bool:
        """Whether a raw shard's values beyond the last image are all the fill value."""
        covered = self._covered(shard)
        return covered == self.shard_images or all(
            _is_fill(layout.name, self._whole(layout, shard)[covered:])
            for layout in self.arrays.values()
            if layout.raw
        )

    def has_data(self, shard: int) -> bool:
        """Whether the shard's files are there in full size; not looked at on object stores."""
        for name, layout in self.checksummed():
            path = self.objects.local_path(
                protocol.shard_key(self.group, name, shard, len(layout.shape))
            )
            if path is None:
                continue
            whole = self.shard_images * math.prod(layout.shape[1:]) * layout.dtype.itemsize
            if not path.is_file() or (layout.raw and path.stat().st_size != whole):
                return False
        return True

    def _covered(self, shard: int) -> int:
        """Rows of the shard that its record or this store speaks of."""
        record = self.record(shard)
        committed = record.stop - record.start if record else 0
        return max(committed, len(self.rows(shard)))

    def require_complete(self) -> None:
        """Refuse an incomplete source.

        Raises
        ------
        StoreError
            Says how many of how many shards are missing and how to finish them.
        """
        missing = self.missing()
        if missing:
            raise StoreError(self._incomplete_message(missing))

    def _incomplete_message(self, missing: list[int]) -> str:
        return (
            f"{self.objects.url}: {self.source} is incomplete: {len(missing)} of "
            f"{self.shard_count} shards are missing. Finish it with the same `workbench extract` "
            f"command, or read it with allow_incomplete=True (missing rows are NaN)"
        )

    def checksummed(self) -> list[tuple[str, ArrayLayout]]:
        """Arrays in the order of the checksum: tokens, prefix, position."""
        return [(name, self.arrays[name]) for name in CHECKSUMMED if name in self.arrays]

    def _read(self, layout: ArrayLayout, shard: int, rows: range) -> np.ndarray:
        if layout.raw:
            return self._whole(layout, shard)[: len(rows)]
        key = protocol.shard_key(self.group, layout.name, shard, len(layout.shape))
        where = f"{self.objects.url}/{key}"
        if not self.objects.exists(key):
            raise StoreError(self._damaged_message(shard, f"{where} is missing"))
        try:
            path = f"{self.group}/{layout.name}"
            array = zarr.open_array(self.objects.zarr_store, path=path, mode="r")
            values = np.asarray(array[rows.start : rows.stop])
        except Exception as error:  # whatever a codec makes of damaged bytes
            raise StoreError(
                self._damaged_message(shard, f"{where} cannot be decoded ({error})")
            ) from error
        values.flags.writeable = False
        return values

    def _whole(self, layout: ArrayLayout, shard: int) -> np.ndarray:
        """A raw shard with its padding, memory-mapped where it is a local file."""
        key = protocol.shard_key(self.group, layout.name, shard, len(layout.shape))
        shape = (self.shard_images, *layout.shape[1:])
        expected = math.prod(shape) * layout.dtype.itemsize
        path = self.objects.local_path(key)
        data = self.objects.get(key) if path is None else None
        if path is not None:
            size = path.stat().st_size if path.is_file() else None
        else:
            size = None if data is None else len(data)
        if size != expected:
            what = "missing" if size is None else f"{size} bytes long, expected {expected}"
            raise StoreError(self._damaged_message(shard, f"{key} is {what}"))
        if path is not None:
            return np.memmap(path, dtype=layout.dtype, mode="r", shape=shape).view(np.ndarray)
        return np.frombuffer(data or b"", dtype=layout.dtype).reshape(shape)

    def _damaged_message(self, shard: int, what: str) -> str:
        url = self.objects.url
        return (
            f"{url}: shard {shard} of {self.source} is damaged: {what}. `workbench verify {url}` "
            f"names every bad shard and lets the next `workbench extract` redo exactly those"
        )


def _opened(objects: Objects, source: Source, name: str) -> zarr.Array:
    try:
        return zarr.open_array(objects.zarr_store, path=f"{source.group}/{name}", mode="r")
    except Exception as error:  # whatever zarr makes of a damaged document
        raise StoreError(
            f"{objects.url}: the metadata of {name} of {source} are missing or damaged; "
            f"{_METADATA_REMEDY}"
        ) from error


def _is_fill(name: str, values: np.ndarray) -> bool:
    return bool((values == FILL[name]).all() if FILL[name] == -1 else np.isnan(values).all())


def _layout(name: str, array: zarr.Array) -> ArrayLayout:
    raw = not array.compressors and not array.filters and array.shards is None
    return ArrayLayout(name, tuple(array.shape), np.dtype(array.dtype), raw)
