"""The root of a store: its images, their labels and status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from feature_store import protocol
from feature_store.documents import (
    document_key,
    document_sha256,
    put_attributes,
    put_document,
    read_attributes,
    read_document,
)
from feature_store.errors import InputError, NewerVersionError, StoreError
from feature_store.image_arrays import IMAGE_ARRAYS, RESTORE, encoded_images, image_documents
from feature_store.objects import Objects


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
    """Write ids, labels and then the root's attributes, which are authoritative; returns these.

    A store that is read or killed meanwhile has the old images: the first ids and labels stay.

    Parameters
    ----------
    attrs : mapping
        ``dataset``, ``dataset_path`` and ``shard_images``; the other attributes are replaced.
    image_ids : sequence of str
        All ids in row order.
    labels : (image,) int32
    """
    cut = next((image_id for image_id in image_ids if image_id.endswith("\0")), None)
    if cut is not None:  # NumPy drops such a character, and ids would become one
        raise InputError(f"image id {cut!r} ends in a zero character; give ids that are text")
    images = len(image_ids)
    values = {"image_id": np.array(image_ids, dtype=object), "label": labels}
    for name, array in values.items():
        for key, data in encoded_images(name, array).items():
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
