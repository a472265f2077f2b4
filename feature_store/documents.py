"""zarr's metadata documents (``zarr.json``): read, checked, and written as whole objects.

The attributes of a group are sealed: the attribute ``seal`` is a digest of the others. A sealed
group names the digests of its arrays' documents, so that a change of any of them is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from feature_store import protocol
from feature_store.errors import StoreError
from feature_store.objects import Objects

GROUP = {"zarr_format": 3, "node_type": "group"}
"""Entries of every group's document beside its attributes."""


def document_key(path: str) -> str:
    """Key of the document of a group or an array; the root's path is empty."""
    return f"{path}/zarr.json" if path else "zarr.json"


def read_document(objects: Objects, path: str) -> dict[str, Any]:
    """The parsed document of a group or an array.

    Raises
    ------
    StoreError
        It is missing or is not a JSON object.
    """
    key = document_key(path)
    data = objects.get(key)
    if data is None:
        raise StoreError(f"{objects.url}/{key} is missing")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        raise StoreError(f"{objects.url}/{key} is damaged ({error})") from error
    if not isinstance(document, dict):
        raise StoreError(f"{objects.url}/{key} is damaged (expected a JSON object)")
    return document


def read_attributes(objects: Objects, path: str) -> dict[str, Any]:
    """Attributes of a group; checks their seal if they have one.

    Raises
    ------
    StoreError
        The document is missing or damaged, or the seal does not match.
    """
    document = read_document(objects, path)
    where = f"{objects.url}/{document_key(path)}"
    attrs = document.get("attributes", {})
    extra = set(document) - {*GROUP, "attributes", "consolidated_metadata"}
    if extra or not isinstance(attrs, dict) or {k: document.get(k) for k in GROUP} != GROUP:
        raise StoreError(f"{where} is damaged (it does not describe a group)")
    if "seal" in attrs and attrs["seal"] != protocol.seal(attrs):
        raise StoreError(f"{where} is damaged (its attributes do not match their seal)")
    return attrs


def put_attributes(objects: Objects, path: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Write a group's document with sealed attributes as one object; returns the attributes."""
    sealed = {**attrs, "seal": protocol.seal(attrs)}
    put_document(objects, path, {"attributes": sealed, **GROUP})
    return sealed


def put_document(objects: Objects, path: str, document: Mapping[str, Any]) -> None:
    """Write a document as one object."""
    objects.put(document_key(path), json.dumps(document, indent=2).encode())


def document_sha256(document: Mapping[str, Any]) -> str:
    """Digest of an array's document without the length of its image dim, which grows.

    Raises
    ------
    StoreError
        The document has no shape.
    """
    shape = document.get("shape")
    if not isinstance(shape, list) or not shape or not _is_count(shape[0]):
        raise StoreError(f"the shape of an array is {shape!r}, expected a list of integers")
    return protocol.identity({**document, "shape": [0, *shape[1:]]})


def described(create: Callable[[zarr.Group], None], names: tuple[str, ...]) -> dict[str, Any]:
    """Array name to its document, for arrays that `create` creates in a group."""
    memory = MemoryStore()
    create(zarr.open_group(memory, mode="w"))
    return {name: json.loads(stored_bytes(memory, document_key(name))) for name in names}


def opened(document: Mapping[str, Any], chunks: Mapping[str, bytes]) -> zarr.Array:
    """An array in memory, from its document and its chunks by key (such as ``c.0``)."""
    buffer = default_buffer_prototype().buffer
    stored = {"zarr.json": json.dumps(document).encode(), **chunks}
    memory = MemoryStore({key: buffer.from_bytes(data) for key, data in stored.items()})
    return zarr.open_array(memory, mode="r")


def stored_bytes(memory: MemoryStore, key: str) -> bytes:
    """One object of a store in memory."""
    value = sync(memory.get(key, default_buffer_prototype()))
    assert value is not None, key
    return value.to_bytes()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
