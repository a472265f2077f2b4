"""zarr metadata documents of a source, created in memory and written as whole objects.

If zarr created them in the store itself, it would refuse or erase the remains of an interrupted
creation or a damaged document. Here each document is written only where it is needed, the source
group's last, and data are never touched.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from feature_store.documents import (
    GROUP,
    described,
    document_sha256,
    opened,
    put_attributes,
    put_document,
    read_attributes,
    read_document,
    stored_bytes,
)
from feature_store.errors import InputError, StoreError
from feature_store.objects import Objects
from feature_store.source import Source

DIMS = {
    ("tokens", 4): ("image", "row", "col", "channel"),
    ("tokens", 3): ("image", "token", "channel"),
    ("prefix", 3): ("image", "prefix", "channel"),
    ("position", 2): ("image", "token"),
}
"""(array name, number of dims) to its dims."""
DTYPES = ("float16", "float32")
"""Dtypes that features are stored in."""
LAYOUTS = ("raw", "packed")
"""Encodings of a shard's object; PROTOCOL.md defines them."""
FILL = {"tokens": float("nan"), "prefix": float("nan"), "position": -1}
"""Array name to its fill value."""


@dataclass(frozen=True, kw_only=True)
class ArrayPlan:
    """Shapes and types of a source."""

    grid: tuple[int, int]
    """(rows, cols) of the token map."""
    channels: int
    """Output dimensions of the model at the tap."""
    prefix: int = 0
    """Prefix tokens per image; no prefix array where 0."""
    dtype: str = "float16"
    """float16 or float32."""
    layout: str = "raw"
    """raw (one uncompressed chunk per shard) or packed (sharded inner chunks, crc32c, zstd)."""
    keep: int = 0
    """Token positions kept per image, drawn at random and stored; 0 keeps the whole map."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"dtype {self.dtype!r} cannot be stored; choose {' or '.join(DTYPES)}")
        if self.layout not in LAYOUTS:
            raise InputError(f"layout {self.layout!r} is unknown; choose {' or '.join(LAYOUTS)}")

    def dtype_of(self, name: str) -> np.dtype:
        """Dtype of an array."""
        return np.dtype("int32" if name == "position" else self.dtype)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Array name to the shape of one image's values."""
        shapes: dict[str, tuple[int, ...]] = {"tokens": (*self.grid, self.channels)}
        if self.keep:
            shapes = {"tokens": (self.keep, self.channels), "position": (self.keep,)}
        return shapes | ({"prefix": (self.prefix, self.channels)} if self.prefix else {})


def put_source(
    objects: Objects, single: Source, size: tuple[int, int], plan: ArrayPlan, attrs: dict[str, Any]
) -> None:
    """Create a source's groups and arrays, or complete an interrupted creation.

    `size` is (images, shard_images); `attrs` are ``manifest``, ``identity`` and ``created``.
    """
    repair_groups(objects, single)
    documents = array_documents(size, plan)
    for name, document in documents.items():
        put_document(objects, f"{single.group}/{name}", document)
    digests = {name: document_sha256(document) for name, document in documents.items()}
    put_attributes(objects, single.group, attrs | {"arrays": asdict(plan), "documents": digests})


def array_documents(size: tuple[int, int], plan: ArrayPlan) -> dict[str, Any]:
    """Array name to its document, for (images, shard_images)."""

    def create(group: zarr.Group) -> None:
        for name, shape in plan.shapes().items():
            _create_array(group, name, (size[0], *shape), size[1], plan)

    return described(create, tuple(plan.shapes()))


def repair_arrays(
    objects: Objects, single: Source, size: tuple[int, int], attrs: dict[str, Any]
) -> None:
    """Restore array documents that are missing, damaged or of another length; data are not touched.

    `size` is (images, shard_images), `attrs` the checked attributes of the source's group.
    """
    plan = plan_of(attrs, f"{objects.url}: {single}")
    digests = dict(attrs.get("documents", {}))  # a source of version 1 has none
    for name, fresh in array_documents(size, plan).items():
        path = f"{single.group}/{name}"
        try:
            found = read_document(objects, path)
            sound = document_sha256(found) == digests.get(name)
        except StoreError:
            found, sound = fresh, False
        if not sound:
            put_document(objects, path, fresh)
            digests[name] = document_sha256(fresh)  # another zarr may write another document
        elif found["shape"][0] != size[0]:
            put_document(objects, path, found | {"shape": fresh["shape"]})
    if digests != attrs.get("documents"):
        put_attributes(objects, single.group, attrs | {"documents": digests})


def plan_of(attrs: dict[str, Any], where: str) -> ArrayPlan:
    """The plan of a stored source's creation, from its attributes.

    Raises
    ------
    StoreError
        The attribute ``arrays`` is not that of a plan.
    """
    try:
        arrays = attrs["arrays"]
        rows, cols = arrays["grid"]
        plan = ArrayPlan(**(arrays | {"grid": (rows, cols)}))
        sizes = [*plan.grid, plan.channels, plan.prefix + 1, plan.keep + 1]
        if not all(type(n) is int and 1 <= n < 2**31 for n in sizes):
            raise ValueError(f"sizes {sizes}")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where}: the attribute arrays is damaged ({error})") from error
    return plan


def repair_groups(objects: Objects, single: Source) -> None:
    """Restore missing or unreadable metadata of the groups above a source."""
    for path in single.groups_above:
        if not is_group(objects, path):
            put_document(objects, path, {"attributes": {}, **GROUP})


def has_groups(objects: Objects, single: Source) -> bool:
    """Whether all groups above a source have sound documents."""
    return all(is_group(objects, path) for path in single.groups_above)


def is_group(objects: Objects, path: str) -> bool:
    """Whether the path contains the metadata of a group without attributes."""
    try:
        return read_attributes(objects, path) == {}
    except StoreError:
        return False


def encoded_shard(document: dict[str, Any], values: np.ndarray) -> bytes:
    """One shard, padded to full length, encoded by the codecs of an array's document."""
    array = opened(document, {})
    memory = MemoryStore()
    twin = zarr.create_array(
        memory,
        shape=values.shape,
        chunks=array.chunks,
        shards=values.shape,
        dtype=array.dtype,
        compressors=array.compressors,
        fill_value=array.fill_value,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},  # a shard of failed images is an object too
    )
    twin[:] = values
    return stored_bytes(memory, "c." + ".".join(["0"] * values.ndim))


def _create_array(
    group: zarr.Group, name: str, shape: tuple[int, ...], shard_images: int, plan: ArrayPlan
) -> None:
    shard = (shard_images, *shape[1:])
    layout: dict[str, Any] = dict(chunks=shard, compressors=None, filters=None)
    if plan.layout == "packed":
        inner = (math.gcd(shard_images, 16), *shape[1:])
        codecs = [ZstdCodec(level=1), Crc32cCodec()]
        layout = dict(chunks=inner, shards=shard, compressors=codecs)
    group.create_array(
        name,
        shape=shape,
        dtype=plan.dtype_of(name),
        fill_value=FILL[name],
        dimension_names=DIMS[name, len(shape)],
        chunk_key_encoding={"name": "default", "separator": "."},
        **layout,
    )
