"""The root of a store: its images, their labels and status."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from feature_store import protocol
from feature_store.documents import (
    described,
    document_key,
    document_sha256,
    opened,
    put_attributes,
    put_document,
    read_attributes,
    read_document,
    stored_bytes,
)
from feature_store.errors import InputError, NewerVersionError, StoreError
from feature_store.objects import Objects

IMAGE_ARRAYS = ("image_id", "label", "status")
"""Arrays of the root group, dims (image,)."""
RESTORE = "repeat the `workbench extract` command to restore it"
_ID_CHUNK = 65536  # ids per object: one object for most stores, twenty for ImageNet-1k


def create_root(
    objects: Objects,
    *,
    dataset: str,
    dataset_path: str,
    image_ids: list[str],
    labels: np.ndarray,
    label_names: list[str],
    shard_images: int,
) -> None:
    """Write the root of an empty store; see :func:`feature_store.create`."""
    if not image_ids:
        raise InputError(f"dataset {dataset} has no images; a store needs at least one")
    repeated = len(image_ids) - len(set(image_ids))
    if repeated:
        raise InputError(f"dataset {dataset}: {repeated} image ids repeat")
    if shard_images < 1:
        raise InputError(f"shard_images is {shard_images}, expected at least 1")
    if not can_create(objects):
        raise InputError(f"{objects.url} exists already; open it, or choose another path")
    put_root(
        objects,
        {"dataset": dataset, "dataset_path": dataset_path, "shard_images": shard_images},
        image_ids,
        labels,
        label_names,
    )


def put_root(
    objects: Objects,
    attrs: Mapping[str, Any],
    image_ids: Sequence[str],
    labels: np.ndarray,
    label_names: Sequence[str],
) -> dict[str, Any]:
    """Write ids, labels and then the root's attributes, which are authoritative.

    A store that is read or killed meanwhile has the old images: the first ids and labels stay.

    Parameters
    ----------
    objects : Objects
    attrs : mapping
        ``dataset``, ``dataset_path`` and ``shard_images``; the other attributes are replaced.
    image_ids : sequence of str
        All ids in row order.
    labels : (image,) int32
    label_names : sequence of str

    Returns
    -------
    dict
        The attributes as they are stored.
    """
    images = len(image_ids)
    values = {"image_id": np.array(image_ids, dtype=object), "label": labels}
    for name, array in values.items():
        for key, data in _encoded(name, array).items():
            objects.put(f"{name}/{key}", data)
    documents = image_documents(images, int(attrs["shard_images"]))
    for name, document in documents.items():
        put_document(objects, name, document)
    return put_attributes(
        objects,
        "",
        {
            **attrs,
            "protocol_version": protocol.VERSION,
            "image_count": images,
            "image_ids_sha256": protocol.ids_sha256(image_ids),
            "labels_sha256": protocol.labels_sha256(labels),
            "label_names": list(label_names),
            "documents": {name: document_sha256(d) for name, d in documents.items()},
        },
    )


def put_location(objects: Objects, dataset: str, dataset_path: str) -> None:
    """Record another name and path of the same dataset."""
    attrs = read_root(objects)
    put_attributes(objects, "", attrs | {"dataset": dataset, "dataset_path": dataset_path})


def can_create(objects: Objects) -> bool:
    """Whether nothing exists yet, or only the start of an interrupted creation."""
    names = set(objects.names(""))
    if "zarr.json" not in names:
        return names <= set(IMAGE_ARRAYS) and (not names or _is_creation(objects, names))
    return names <= {"zarr.json", *IMAGE_ARRAYS} and b'"protocol_version"' not in (
        objects.get("zarr.json") or b""
    )


def _is_creation(objects: Objects, names: set[str]) -> bool:
    """Whether folders named like the root's arrays contain nothing but their objects."""
    return all(
        entry == "zarr.json" or entry.startswith((".", "c."))
        for name in names
        for entry in objects.names(name)
    )


def label_codes(labels: Any, images: int, label_names: Sequence[str]) -> np.ndarray:
    """Labels as (image,) int32, all -1 for None.

    Raises
    ------
    InputError
        Not one label per image, or a label without a name.
    """
    codes = np.full(images, -1) if labels is None else np.asarray(labels)
    if codes.shape != (images,):
        raise InputError(f"labels have shape {codes.shape}, expected ({images},), one per image")
    if codes.size and not -1 <= codes.min() <= codes.max() < len(label_names):
        raise InputError(
            f"labels range from {codes.min()} to {codes.max()}, expected -1 to "
            f"{len(label_names) - 1} for {len(label_names)} label names"
        )
    return codes.astype(np.int32)


def image_documents(images: int, shard_images: int) -> dict[str, Any]:
    """Documents of ``image_id``, ``label`` and ``status`` (one chunk of it per shard)."""

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


def _encoded(name: str, values: np.ndarray) -> dict[str, bytes]:
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
    try:
        (chunk,) = document["chunk_grid"]["configuration"]["chunk_shape"]
        keys = [f"c.{k}" for k in range(-(-images // chunk))]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise StoreError(f"{objects.url}/{name}/zarr.json is damaged ({error})") from error
    found = {key: objects.get(f"{name}/{key}") for key in keys}
    absent = [key for key, data in found.items() if data is None]
    if absent and name == "image_id":
        raise StoreError(f"{objects.url}/{name}/{absent[0]} is missing")
    try:
        document |= {"shape": [images]}
        chunks = {key: data for key, data in found.items() if data is not None}
        return np.asarray(opened(document, chunks)[...]).astype(_DIGESTS[name][2])
    except Exception as error:  # whatever a codec raises for damaged bytes
        raise StoreError(f"{objects.url}/{name} cannot be decoded ({error})") from error


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
        except StoreError as error:
            problems.append(str(error))
    return problems


_DIGESTS: dict[str, tuple[str, Callable[[Any], str], type]] = {
    "image_id": ("image_ids_sha256", protocol.ids_sha256, object),
    "label": ("labels_sha256", protocol.labels_sha256, np.int32),
}


def read_root(objects: Objects) -> dict[str, Any]:
    """The root's attributes, checked.

    Raises
    ------
    StoreError
        The root is missing, damaged, incomplete, or of a newer protocol version.
    """
    if objects.get(document_key("")) is None:
        if {"features", *IMAGE_ARRAYS} & set(objects.names("")) and not can_create(objects):
            raise StoreError(f"{objects.url}/{document_key('')} is missing; {RESTORE}")
        raise StoreError(
            f"there is no feature store at {objects.url}; create one with `workbench "
            f"extract --dataset ... --model ... --store {objects.url}`"
        )
    _refuse_newer(objects)
    try:
        attrs = read_attributes(objects, "")
    except StoreError as error:
        raise StoreError(f"{error}; {RESTORE}") from error
    new = set(protocol.SINCE_VERSION_2)
    old = attrs.get("protocol_version") == 1 and not new & set(attrs)
    required = set(protocol.ROOT_ATTRIBUTES) - (new if old else set())
    missing = sorted(required - set(attrs))
    if missing:
        raise StoreError(
            f"{objects.url} is not a feature store, or its root is damaged: it lacks "
            f"{', '.join(missing)}; {RESTORE}"
        )
    _refuse_odd_values(objects, attrs)
    return attrs


def _refuse_newer(objects: Objects) -> None:
    try:
        attrs = read_document(objects, "").get("attributes")
    except StoreError:  # damaged, which is found again
        return
    version = attrs.get("protocol_version") if isinstance(attrs, dict) else None
    if not isinstance(version, int) or version <= protocol.VERSION:
        return
    assert isinstance(attrs, dict)
    if protocol.seal(attrs | {"protocol_version": protocol.VERSION}) != attrs.get("seal"):
        raise NewerVersionError(
            f"{objects.url} has protocol version {version}, this program reads up to "
            f"{protocol.VERSION}; update s2-workbench"
        )


def _refuse_odd_values(objects: Objects, attrs: Mapping[str, Any]) -> None:
    """Types and ranges of the attributes; a store of version 1 has no seal that covers them."""
    count, names = attrs["image_count"], attrs["label_names"]
    texts = ("dataset", "image_ids_sha256", "labels_sha256")
    good = {
        "protocol_version": type(attrs["protocol_version"]) is int
        and 1 <= attrs["protocol_version"] <= protocol.VERSION,
        "image_count": type(count) is int and 1 <= count < 2**31,
        "shard_images": type(attrs["shard_images"]) is int and 1 <= attrs["shard_images"] < 2**31,
        "label_names": isinstance(names, list) and all(isinstance(n, str) for n in names),
    } | {name: isinstance(attrs[name], str) for name in texts}
    for name, is_good in good.items():
        if not is_good:
            raise StoreError(
                f"{objects.url}/zarr.json is damaged ({name} is {attrs[name]!r}); {RESTORE}"
            )
    if "seal" not in attrs:
        _refuse_other_lengths(objects, attrs)


def _refuse_other_lengths(objects: Objects, attrs: Mapping[str, Any]) -> None:
    """Numbers of images and of images per shard, compared with the root's arrays (version 1)."""
    try:
        ids, status = (read_document(objects, name) for name in ("image_id", "status"))
        (length,) = ids["shape"]
        (chunk,) = status["chunk_grid"]["configuration"]["chunk_shape"]
    except (KeyError, TypeError, ValueError, StoreError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise StoreError(f"{objects.url}: a root array is damaged ({reason})") from error
    if attrs["image_count"] > length or attrs["shard_images"] != chunk:
        raise StoreError(
            f"{objects.url}/zarr.json is damaged (image_count {attrs['image_count']} of {length} "
            f"ids, shard_images {attrs['shard_images']} for chunks of {chunk})"
        )
