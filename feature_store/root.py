"""The root of a store: its images, their labels and status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr

from feature_store import protocol
from feature_store.errors import InputError, StoreError
from feature_store.objects import Objects, root_group

IMAGE_ARRAYS = ("image_id", "label", "status")
"""Arrays of the root group, dims (image,)."""
_ID_CHUNK = 65536  # ids per object: one object for most stores, twenty for ImageNet-1k


def create_root(
    objects: Objects,
    *,
    dataset: str,
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
    root = root_group(objects, "a")
    _create_images(root, shard_images)
    put_images(root, image_ids, labels)
    root.update_attributes(  # last: a root without attributes is not a store yet
        {
            "protocol_version": protocol.VERSION,
            "dataset": dataset,
            "image_count": len(image_ids),
            "image_ids_sha256": protocol.ids_sha256(image_ids),
            "labels_sha256": protocol.labels_sha256(labels),
            "label_names": label_names,
            "shard_images": shard_images,
        }
    )


def can_create(objects: Objects) -> bool:
    """Whether nothing exists yet, or only the start of an interrupted creation."""
    names = set(objects.names(""))
    if "zarr.json" not in names:
        return not names
    return names <= {"zarr.json", *IMAGE_ARRAYS} and b'"protocol_version"' not in (
        objects.get("zarr.json") or b""
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


def _create_images(root: zarr.Group, shard_images: int) -> None:
    """Empty ``image_id``, ``label`` and ``status`` (one chunk of it per shard)."""
    common: dict[str, Any] = dict(
        shape=(0,),
        dimension_names=("image",),
        overwrite=True,
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    root.create_array("image_id", dtype="string", chunks=(_ID_CHUNK,), **common)
    root.create_array("label", dtype="int32", chunks=(_ID_CHUNK,), fill_value=-1, **common)
    flags = {
        "flag_values": list(range(len(protocol.STATUS))),
        "flag_meanings": " ".join(protocol.STATUS),
    }
    plain: dict[str, Any] = dict(compressors=None, filters=None, attributes=flags)
    root.create_array(
        "status", dtype="uint8", chunks=(shard_images,), fill_value=0, **plain, **common
    )


def put_images(root: zarr.Group, ids: list[str], labels: np.ndarray) -> None:
    """Extend the arrays to all images and write ids and labels; new rows are pending."""
    for name, values in (("image_id", np.array(ids, dtype=object)), ("label", labels)):
        array = root[name]
        array.resize((len(ids),))  # type: ignore[union-attr]
        array[:] = values  # type: ignore[index]
    root["status"].resize((len(ids),))  # type: ignore[union-attr]


def checked_root(objects: Objects) -> zarr.Group:
    """The root group of a store that this version can read.

    Raises
    ------
    StoreError
        The root is missing, damaged, incomplete, or of a newer protocol version.
    """
    if objects.get("zarr.json") is None:
        raise StoreError(
            f"there is no feature store at {objects.url}; create one with `workbench "
            f"extract --dataset ... --model ... --store {objects.url}`"
        )
    try:
        root = root_group(objects, "r")
    except Exception as error:
        raise StoreError(f"{objects.url}/zarr.json is damaged ({error})") from error
    version = root.attrs.get("protocol_version")
    if isinstance(version, int) and version > protocol.VERSION:
        raise StoreError(
            f"{objects.url} has protocol version {version}, this program reads up to "
            f"{protocol.VERSION}; update s2-workbench"
        )
    missing = [name for name in protocol.ROOT_ATTRIBUTES if name not in root.attrs]
    if missing:
        raise StoreError(
            f"{objects.url} is not a feature store, or its creation was interrupted "
            f"(its root lacks {', '.join(missing)}); delete it and extract again"
        )
    return root
