"""zarr metadata documents of a source, created in memory and written as whole objects.

If zarr created them in the store itself, it would refuse or erase the remains of an interrupted
creation or a damaged document. Here each document is written only where it is needed, the source
group's last, and data are never touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from feature_store.errors import InputError
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

    Parameters
    ----------
    objects : Objects
        The store.
    single : Source
        Single-scale source with a tap.
    size : (images, shard_images)
        Length of the image dim and of a shard.
    plan : ArrayPlan
        Shapes, dtype, layout.
    attrs : dict
        Attributes of the source group.
    """
    memory = MemoryStore()
    group = zarr.open_group(memory, mode="w").create_group(single.group, attributes=attrs)
    for name, shape in plan.shapes().items():
        _create_array(group, name, (size[0], *shape), size[1], plan)
    for key in _documents(memory, single.group):
        objects.put(key, _read(memory, key))


def repair_arrays(objects: Objects, single: Source, size: tuple[int, int], plan: ArrayPlan) -> None:
    """Restore array metadata that are missing, unreadable, of another shape or too short.

    Arguments as for :func:`put_source`; the plan must be that of the source's creation.
    """
    memory = MemoryStore()
    group = zarr.open_group(memory, mode="w").create_group(single.group)
    for name, shape in plan.shapes().items():
        _create_array(group, name, (size[0], *shape), size[1], plan)
        path = f"{single.group}/{name}"
        try:
            found = zarr.open_array(objects.zarr_store, path=path, mode="r")
            sound = found.shape[0] >= size[0] and found.shape[1:] == shape
        except Exception:  # whatever zarr raises for a damaged document
            sound = False
        if not sound:
            objects.put(f"{path}/zarr.json", _read(memory, f"{path}/zarr.json"))


def created_plan(objects: Objects, single: Source) -> ArrayPlan:
    """The plan of a stored source's creation, from its attributes."""
    group = zarr.open_group(objects.zarr_store, path=single.group, mode="r", use_consolidated=False)
    attrs: dict[str, Any] = group.attrs.asdict()
    arrays = attrs["arrays"]
    return ArrayPlan(**(arrays | {"grid": tuple(arrays["grid"])}))


def repair_groups(objects: Objects, single: Source) -> None:
    """Restore missing or unreadable metadata of the groups above a source."""
    memory = MemoryStore()
    zarr.open_group(memory, mode="w").create_group(single.group)
    parents = [key for key in _documents(memory, single.group) if not key.startswith(single.group)]
    for key in parents:
        if not is_group(objects, key.rpartition("/")[0]):
            objects.put(key, _read(memory, key))


def is_group(objects: Objects, path: str) -> bool:
    """Whether the path contains readable metadata of a group."""
    try:
        zarr.open_group(objects.zarr_store, path=path, mode="r", use_consolidated=False)
    except Exception:  # whatever zarr raises for a damaged document
        return False
    return True


def encoded_shard(array: zarr.Array, values: np.ndarray) -> bytes:
    """One shard, padded to full length, encoded by the codecs of the array."""
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
    return _read(memory, "c." + ".".join(["0"] * values.ndim))


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
        dtype="int32" if name == "position" else plan.dtype,
        fill_value=FILL[name],
        dimension_names=DIMS[name, len(shape)],
        chunk_key_encoding={"name": "default", "separator": "."},
        **layout,
    )


def _documents(memory: MemoryStore, last: str) -> list[str]:
    """Keys of all documents below the root; the source group's comes last."""

    async def listed() -> list[str]:
        return [key async for key in memory.list()]

    keys = [key for key in sync(listed()) if key not in ("zarr.json", f"{last}/zarr.json")]
    return [*sorted(keys), f"{last}/zarr.json"]


def _read(memory: MemoryStore, key: str) -> bytes:
    value = sync(memory.get(key, default_buffer_prototype()))
    assert value is not None, key
    return value.to_bytes()
