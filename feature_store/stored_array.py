"""One array of a stored source: where its shards lie and how their bytes decode."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from feature_store import protocol
from feature_store.documents import document_sha256, opened, read_document
from feature_store.errors import StoreError, UnreadableError
from feature_store.metadata import FILL, ArrayPlan
from feature_store.objects import Objects
from feature_store.source import Source

METADATA_REMEDY = "repeat the `workbench extract` command to restore them (no features are lost)"


class DamagedShard(StoreError):
    """A shard's object is missing, of another size, not decodable, or has another checksum."""


@dataclass(frozen=True)
class StoredArray:
    """Reads the shards of one array; knows nothing of commit records."""

    name: str
    """``tokens``, ``prefix`` or ``position``."""
    shape: tuple[int, ...]
    """(image, row, col, channel), (image, token, channel), (image, prefix, channel) or (image,
    token)."""
    dtype: np.dtype
    """Stored dtype."""
    raw: bool
    """One uncompressed chunk per shard with the plain ``bytes`` codec: the shard's object is the
    C-order little-endian array, so it can be memory-mapped."""
    objects: Objects = field(repr=False)
    group: str = field(repr=False)
    shard_images: int = field(repr=False)
    document: dict[str, Any] = field(repr=False)

    @classmethod
    def open(
        cls,
        objects: Objects,
        source: Source,
        name: str,
        plan: ArrayPlan,
        *,
        shard_images: int,
        digest: str | None,
    ) -> StoredArray:
        """Read the array's document and compare it with the source's attributes.

        `digest` is that of the document; None in stores of version 1, where the shape is compared.

        Raises
        ------
        StoreError
            The document is missing or damaged.
        """
        dtype, shape = plan.dtype_of(name), plan.shapes()[name]
        try:
            document = read_document(objects, f"{source.group}/{name}")
            actual = document_sha256(document)
            if digest is not None and actual != digest:
                raise StoreError(f"its sha256 is {actual[:12]}, expected {digest[:12]}")
            found = (document["shape"][1:], document.get("data_type"))
            if found != (list(shape), dtype.name):
                raise StoreError(f"it has shape and dtype {found}, expected {shape}, {dtype.name}")
        except StoreError as error:
            raise StoreError(
                f"{objects.url}: the metadata of {name} of {source} are missing or damaged "
                f"({error}); {METADATA_REMEDY}"
            ) from error
        return cls.planned(objects, source, name, plan, shard_images, document)

    @classmethod
    def planned(
        cls,
        objects: Objects,
        source: Source,
        name: str,
        plan: ArrayPlan,
        shard_images: int,
        document: dict[str, Any],
    ) -> StoredArray:
        """An array of a plan with its document, which is not checked."""
        shape = (document["shape"][0], *plan.shapes()[name])
        dtype, raw = plan.dtype_of(name), plan.layout == "raw"
        return cls(name, shape, dtype, raw, objects, source.group, shard_images, document)

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
        data = self.objects.get(key)
        if data is None:
            raise DamagedShard(f"{key} is missing")
        try:
            shape = [self.shard_images, *self.shape[1:]]
            first = "c." + ".".join("0" * len(shape))
            values = np.asarray(opened(self.document | {"shape": shape}, {first: data})[:count])
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
        if data is None and (path is None or not path.is_file()):
            raise DamagedShard(f"{key} is missing")
        size = path.stat().st_size if path else len(data or b"")
        if size != self._raw_bytes():
            raise DamagedShard(f"{key} is {size} bytes long, expected {self._raw_bytes()}")
        if path is None:
            return np.frombuffer(data or b"", dtype=self.dtype).reshape(shape)
        try:
            return np.memmap(path, dtype=self.dtype, mode="r", shape=shape).view(np.ndarray)
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read ({error})") from error
