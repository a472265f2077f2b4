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
    codes = np.full(len(ids), -1) if labels is None else np.asarray(labels)
    if not ids:
        raise InputError(f"dataset {dataset} has no images; a store needs at least one")
    if len(set(ids)) != len(ids):
        raise InputError(f"dataset {dataset}: {len(ids) - len(set(ids))} image ids repeat")
    if codes.shape != (len(ids),) or (codes.size and codes.max() >= max(1, len(label_names))):
        raise InputError(
            f"labels of shape {codes.shape} do not fit {len(ids)} images and "
            f"{len(label_names)} label names"
        )
    if shard_images < 1:
        raise InputError(f"shard_images is {shard_images}, expected at least 1")
    objects = connect(path)
    if objects.get("zarr.json") is not None:
        raise InputError(f"{objects.url} exists already; open it, or choose another path")
    root = root_group(objects, "a")
    codes = codes.astype(np.int32)
    _write_images(root, ids, codes, shard_images)
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


def _write_images(root: zarr.Group, ids: list[str], labels: np.ndarray, shard_images: int) -> None:
    """``image_id``, ``label`` as one chunk each, ``status`` with one chunk per shard."""
    n = len(ids)
    common: dict[str, Any] = dict(shape=(n,), dimension_names=("image",), overwrite=True)
    root.create_array("image_id", dtype="string", chunks=(n,), **common)
    root["image_id"][:] = np.array(ids, dtype=object)  # type: ignore[index]
    root.create_array("label", dtype="int32", chunks=(n,), fill_value=-1, **common)
    root["label"][:] = labels  # type: ignore[index]
    flags = {
        "flag_values": list(range(len(protocol.STATUS))),
        "flag_meanings": " ".join(protocol.STATUS),
    }
    root.create_array(
        "status",
        dtype="uint8",
        chunks=(shard_images,),
        fill_value=0,
        compressors=None,
        filters=None,
        attributes=flags,
        chunk_key_encoding={"name": "default", "separator": "."},
        **common,
    )


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
