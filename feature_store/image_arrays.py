"""Arrays of the root: ids, labels and status of the images, dims (image,)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from zarr.storage import MemoryStore

from feature_store import protocol
from feature_store.documents import (
    described,
    document_key,
    document_sha256,
    opened,
    read_document,
    stored_bytes,
)
from feature_store.errors import StoreError
from feature_store.objects import Objects

IMAGE_ARRAYS = ("image_id", "label", "status")
"""Arrays of the root group, dims (image,)."""
RESTORE = "repeat the `workbench extract` command to restore it"
_ID_CHUNK = 65536  # ids per object: one object for most stores, twenty for ImageNet-1k


@functools.cache
def image_documents(images: int, shard_images: int) -> dict[str, Any]:
    """Documents of ``image_id``, ``label`` and ``status`` (one chunk of it per shard).

    They are shared: change copies only.
    """

    def create(group: zarr.Group) -> None:
        for name in IMAGE_ARRAYS:
            _create_array(group, name, images, shard_images)

    return described(create, IMAGE_ARRAYS)


def _create_array(group: zarr.Group, name: str, images: int, shard_images: int) -> zarr.Array:
    common: dict[str, Any] = dict(
        shape=(images,),
        dimension_names=("image",),
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},  # a chunk that does not exist is damage
    )
    if name == "image_id":
        return group.create_array(name, dtype="string", chunks=(_ID_CHUNK,), **common)
    if name == "label":
        return group.create_array(name, dtype="int32", chunks=(_ID_CHUNK,), fill_value=-1, **common)
    flags = {
        "flag_values": list(range(len(protocol.STATUS))),
        "flag_meanings": " ".join(protocol.STATUS),
    }
    plain: dict[str, Any] = dict(compressors=None, filters=None, attributes=flags)
    return group.create_array(
        name, dtype="uint8", chunks=(shard_images,), fill_value=0, **plain, **common
    )


def encoded_images(name: str, values: np.ndarray) -> dict[str, bytes]:
    """Chunk key (``c.0``) to its bytes."""
    memory = MemoryStore()
    array = _create_array(zarr.open_group(memory, mode="w"), name, len(values), 1)
    array[:] = values
    keys = [f"c.{k}" for k in range(-(-len(values) // _ID_CHUNK))]
    return {key: stored_bytes(memory, f"{name}/{key}") for key in keys}


def read_images(objects: Objects, name: str, images: int) -> np.ndarray:
    """The first values of ``image_id`` or ``label``, not checked against the root's digests.

    Raises
    ------
    StoreError
        The array cannot be decoded.
    """
    document = read_document(objects, name)
    chunk = _chunk_length(objects, name, document)
    keys = [f"c.{k}" for k in range(-(-images // chunk))]
    found = {key: objects.get(f"{name}/{key}") for key in keys}
    absent = [key for key, data in found.items() if data is None]
    if absent and name == "image_id":
        raise StoreError(f"{objects.url}/{name}/{absent[0]} is missing")
    try:
        chunks = {key: data for key, data in found.items() if data is not None}
        return decoded(document, chunks, images).astype(_DIGESTS[name][2])
    except Exception as error:  # whatever a codec raises for damaged bytes
        raise StoreError(f"{objects.url}/{name} cannot be decoded ({error})") from error


def decoded(document: dict[str, Any], chunks: Mapping[str, bytes], images: int) -> np.ndarray:
    """The first values of ``image_id`` or ``label``, from the array's document and its chunks.

    Raises
    ------
    Exception
        Whatever a codec raises for damaged bytes.
    """
    if document["data_type"] == "string":
        _refuse_other_counts(document, chunks)
    return np.asarray(opened(document | {"shape": [images]}, chunks)[...])


def _refuse_other_counts(document: dict[str, Any], chunks: Mapping[str, bytes]) -> None:
    """The codec of strings allocates as many as a chunk's first four bytes say: up to 34 GB."""
    codecs = [codec["name"] for codec in document["codecs"]]
    if codecs != ["vlen-utf8", "zstd"]:
        raise StoreError(f"its codecs are {codecs}, expected vlen-utf8 and zstd")
    (chunk,) = document["chunk_grid"]["configuration"]["chunk_shape"]
    for key, data in chunks.items():
        count = int.from_bytes(bytes(Zstd().decode(data)[:4]), "little")
        if count != chunk:
            raise StoreError(f"{key} claims {count} ids, expected {chunk}")


def checked_images(objects: Objects, attrs: Mapping[str, Any], name: str) -> np.ndarray:
    """``image_id`` as str or ``label`` as int32, after a comparison with the root's digest.

    Raises
    ------
    StoreError
        The array is damaged.
    """
    key, digest, _ = _DIGESTS[name]
    try:
        values = read_images(objects, name, attrs["image_count"])
        actual = digest(values)
        if actual != attrs[key]:
            raise StoreError(f"its sha256 is {actual[:12]}, expected {attrs[key][:12]}")
        return values.astype(str) if name == "image_id" else values
    except StoreError as error:
        raise StoreError(f"{objects.url}: {name} is damaged ({error}); {RESTORE}") from error


def document_problems(objects: Objects, attrs: Mapping[str, Any]) -> list[str]:
    """One line per document of a root array that is damaged or of another length."""
    size = attrs["image_count"], attrs["shard_images"]
    fresh = {name: document_sha256(d) for name, d in image_documents(*size).items()}
    expected, problems = attrs.get("documents", fresh), []
    for name in IMAGE_ARRAYS:
        try:
            document = read_document(objects, name)
            if document_sha256(document) != expected[name]:
                problems.append(f"{document_key(name)} does not match its sha256 in the root")
            elif document["shape"][0] != size[0]:
                problems.append(f"{name} has {document['shape'][0]} rows for {size[0]} images")
            elif name in _DIGESTS and not _padding_is_clean(objects, name, document, size[0]):
                problems.append(f"{name} has values beyond the last image")
        except StoreError as error:
            problems.append(str(error))
    return problems


def _padding_is_clean(objects: Objects, name: str, document: dict[str, Any], images: int) -> bool:
    """Whether the last chunk holds the fill value beyond the last image."""
    chunk = _chunk_length(objects, name, document)
    last = (images - 1) // chunk
    data = objects.get(f"{name}/c.{last}")
    if data is None:  # a chunk of fill values, in version 1
        return name == "label"
    try:
        values = decoded(document, {"c.0": data}, chunk)
        return bool(np.all(values[images - last * chunk :] == document["fill_value"]))
    except Exception as error:  # whatever a codec raises for damaged bytes
        raise StoreError(f"{objects.url}/{name} cannot be decoded ({error})") from error


def _chunk_length(objects: Objects, name: str, document: dict[str, Any]) -> int:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        (chunk,) = document["chunk_grid"]["configuration"]["chunk_shape"]
        if type(chunk) is int and chunk > 0:
            return chunk
    raise StoreError(f"{objects.url}/{name}/zarr.json is damaged (it names no chunk length)")


_DIGESTS: dict[str, tuple[str, Callable[[Any], str], type]] = {
    "image_id": ("image_ids_sha256", protocol.ids_sha256, object),
    "label": ("labels_sha256", protocol.labels_sha256, np.int32),
}
