"""One array of a stored source: where its shards lie and how their bytes decode."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import zarr

from feature_store import protocol
from feature_store.errors import StoreError
from feature_store.metadata import FILL
from feature_store.objects import Objects
from feature_store.source import Source

METADATA_REMEDY = "repeat the `workbench extract` command to restore them (no features are lost)"


class DamagedShard(StoreError):
    """A shard's object is missing, of another size, not decodable, or has another checksum."""


@dataclass(frozen=True)
class StoredArray:
    """Reads the shards of one array; knows nothing of commit records.

    Attributes
    ----------
    name : str
        ``tokens``, ``prefix`` or ``position``.
    shape : tuple of int
        (image, row, col, channel), (image, token, channel), (image, prefix, channel) or
        (image, token).
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
    objects: Objects = field(repr=False)
    group: str = field(repr=False)
    shard_images: int = field(repr=False)

    @classmethod
    def open(cls, objects: Objects, source: Source, name: str, shard_images: int) -> StoredArray:
        """Read the array's metadata.

        Raises
        ------
        StoreError
            The metadata are missing or unreadable.
        """
        try:
            array = zarr.open_array(objects.zarr_store, path=f"{source.group}/{name}", mode="r")
        except Exception as error:  # whatever zarr raises for a damaged document
            raise StoreError(
                f"{objects.url}: the metadata of {name} of {source} are missing or damaged; "
                f"{METADATA_REMEDY}"
            ) from error
        raw = not array.compressors and not array.filters and array.shards is None
        shape, dtype = tuple(array.shape), np.dtype(array.dtype)
        return cls(name, shape, dtype, raw, objects, source.group, shard_images)

    def read(self, shard: int, count: int) -> np.ndarray:
        """The first `count` rows of a shard, read-only.

        Raises
        ------
        DamagedShard
            The object is missing, of another size, or not decodable.
        """
        if self.raw:
            return self._raw_shard(shard)[:count]
        key = self._key(shard)
        if not self.objects.exists(key):
            raise DamagedShard(f"{key} is missing")
        try:
            path = f"{self.group}/{self.name}"
            array = zarr.open_array(self.objects.zarr_store, path=path, mode="r")
            start = shard * self.shard_images
            values = np.asarray(array[start : start + count])
        except Exception as error:  # whatever a codec raises for damaged bytes
            raise DamagedShard(f"{key} cannot be decoded ({error})") from error
        values.flags.writeable = False
        return values

    def padding_is_clean(self, shard: int, count: int) -> bool:
        """Whether all values of a raw shard after its first `count` rows are the fill value."""
        if not self.raw:
            return True
        padding = self._raw_shard(shard)[count:]
        fill = FILL[self.name]
        return bool((padding == fill).all() if fill == -1 else np.isnan(padding).all())

    def has_file(self, shard: int) -> bool:
        """Whether the shard's file exists in full size; object stores are not asked."""
        path = self.objects.local_path(self._key(shard))
        if path is None:
            return True
        return path.is_file() and (not self.raw or path.stat().st_size == self._raw_bytes())

    def _key(self, shard: int) -> str:
        return protocol.shard_key(self.group, self.name, shard, len(self.shape))

    def _raw_bytes(self) -> int:
        return self.shard_images * math.prod(self.shape[1:]) * self.dtype.itemsize

    def _raw_shard(self, shard: int) -> np.ndarray:
        """A raw shard with its padding, memory-mapped where it is a local file."""
        key = self._key(shard)
        shape = (self.shard_images, *self.shape[1:])
        path = self.objects.local_path(key)
        data = self.objects.get(key) if path is None else None
        if path is not None:
            size = path.stat().st_size if path.is_file() else None
        else:
            size = None if data is None else len(data)
        if size is None:
            raise DamagedShard(f"{key} is missing")
        if size != self._raw_bytes():
            raise DamagedShard(f"{key} is {size} bytes long, expected {self._raw_bytes()}")
        if path is not None:
            return np.memmap(path, dtype=self.dtype, mode="r", shape=shape).view(np.ndarray)
        return np.frombuffer(data or b"", dtype=self.dtype).reshape(shape)
