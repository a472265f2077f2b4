"""The root of a store: the images it is about, their labels and status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store

from feature_store import protocol
from feature_store.errors import InputError, StoreError
from feature_store.objects import Objects, connect, root_group

IMAGE_ARRAYS = ("image_id", "label", "status")
"""Arrays of the root group, dims (image,)."""
_ID_CHUNK = 65536  # ids per object: one object for most stores, twenty for ImageNet-1k


def create_root(
    path: str | Path | Store,
    *,
    dataset: str,
    image_ids: Sequence[str],
    labels: Any = None,
    label_names: Sequence[str] = (),
    shard_images: int = 256,
) -> Objects:
    """Create an empty store for a dataset split.

    Parameters
    ----------
    path : str, Path or zarr store
        New folder or URL.
    dataset : str
        Dataset name.
    image_ids : sequence of str
        Unique, in row order.
    labels : (image,) int, optional
        Class index per image, -1 where unlabelled; all -1 if None.
    label_names : sequence of str
        Class names.
    shard_images : int
        Images per shard, the unit of work and of loss when a run is killed.

    Raises
    ------
    InputError
        No images, duplicate ids, labels that do not fit, or something is at `path` already.
    """
    ids = [str(i) for i in image_ids]
    if not ids:
        raise InputError(f"dataset {dataset} has no images; a store needs at least one")
    if len(set(ids)) != len(ids):
        raise InputError(f"dataset {dataset}: {len(ids) - len(set(ids))} image ids repeat")
    codes = label_codes(labels, len(ids), label_names)
    if shard_images < 1:
        raise InputError(f"shard_images is {shard_images}, expected at least 1")
    objects = connect(path)
    if not can_create(objects):
        raise InputError(f"{objects.url} exists already; open it, or choose another path")
    root = root_group(objects, "a")
    _create_images(root, shard_images)
    put_images(root, ids, codes)
    root.update_attributes(  # last: a root without attributes is no store yet
        {
            "protocol_version": protocol.VERSION,
            "dataset": dataset,
            "image_count": len(ids),
            "image_ids_sha256": protocol.ids_sha256(ids),
            "labels_sha256": protocol.labels_sha256(codes),
            "label_names": [str(n) for n in label_names],
            "shard_images": shard_images,
        }
    )
    return objects


def can_create(objects: Objects) -> bool:
    """Whether there is nothing yet, or only the beginnings of an interrupted creation."""
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
        Another length than the images, or a code beyond the label names.
    """
    codes = np.full(images, -1) if labels is None else np.asarray(labels)
    beyond = codes.size and not -1 <= codes.min() <= codes.max() < max(len(label_names), 0)
    if codes.shape != (images,) or (beyond and not (codes == -1).all()):
        raise InputError(
            f"labels of shape {codes.shape} do not fit {images} images and "
            f"{len(label_names)} label names"
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
    """Make room for all images and write their ids and labels; status of new rows is pending."""
    for name, values in (("image_id", np.array(ids, dtype=object)), ("label", labels)):
        array = root[name]
        array.resize((len(ids),))  # type: ignore[union-attr]
        array[:] = values  # type: ignore[index]
    root["status"].resize((len(ids),))  # type: ignore[union-attr]


def checked_root(objects: Objects) -> zarr.Group:
    """The root group, if it is one of a store that this version reads.

    Raises
    ------
    StoreError
        Nothing there, damaged, of a newer protocol version, or creation was interrupted.
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
