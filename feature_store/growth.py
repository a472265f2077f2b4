"""Compare a store with its dataset: same images, new images to add, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr

from feature_store import protocol
from feature_store.errors import StoreError
from feature_store.objects import root_group
from feature_store.root import label_codes, put_images
from feature_store.store import FeatureStore


def reconcile(
    store: FeatureStore, image_ids: Sequence[str], labels: Any, label_names: Sequence[str]
) -> FeatureStore:
    """The store, extended to every image of the dataset.

    Stored images keep their rows, and new images get rows at the end, wherever they are in the
    dataset: ids map rows to images. Committed shards stay; afterwards only the new rows are
    missing.

    Parameters
    ----------
    store : FeatureStore
        An existing store.
    image_ids : sequence of str
        The dataset's current ids.
    labels : (image,) int or None
        The dataset's current labels.
    label_names : sequence of str
        The dataset's current class names.

    Raises
    ------
    StoreError
        Stored images are no longer in the dataset, or their labels changed; the message names the
        first few.
    """
    ids, codes, names = grown(store, image_ids, labels, label_names)
    if len(ids) > len(store) or not _intact(store):
        _grow(store, ids, codes, names)
        return FeatureStore(store.objects)
    return store


def grown(
    store: FeatureStore, image_ids: Sequence[str], labels: Any, label_names: Sequence[str]
) -> tuple[list[str], np.ndarray, list[str]]:
    """Images of the store after :func:`reconcile`; only reads the store.

    Returns
    -------
    image_ids : list of str
        Stored ids in their order, then the new ones.
    labels : (image,) int32
        In the numbering of `label_names`; -1 = unlabelled.
    label_names : list of str
        Stored names, then the new ones.

    Raises
    ------
    StoreError
        As :func:`reconcile`.
    """
    stored = list(_trusted_ids(store, image_ids))
    position = {image_id: row for row, image_id in enumerate(image_ids)}
    removed = [i for i in stored if i not in position]
    if removed:
        raise StoreError(
            f"{store.path} holds {len(removed)} image(s) that the dataset no longer has "
            f"({_some(removed)}). Stored rows are never dropped: restore the images (or raise "
            f"--limit), or extract into another store"
        )
    known = set(stored)
    order = [position[i] for i in stored]
    order += [row for row, i in enumerate(image_ids) if i not in known]
    ids = [image_ids[row] for row in order]
    names, codes = _renumbered(store.label_names, labels, len(image_ids), label_names)
    codes = codes[order]
    _refuse_changed_labels(store, stored, codes)
    return ids, codes, names


def _renumbered(
    stored_names: list[str], labels: Any, images: int, label_names: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Stored, then new class names, and the dataset's labels in that numbering."""
    now = [str(n) for n in label_names]
    names = stored_names + [n for n in now if n not in set(stored_names)]
    number = {name: code for code, name in enumerate(names)}
    table = np.array([number[n] for n in now] + [-1], dtype=np.int32)  # the last is for label -1
    return names, table[label_codes(labels, images, now)]


def _trusted_ids(store: FeatureStore, image_ids: Sequence[str]) -> Sequence[str]:
    """Stored ids; if the array is damaged, the dataset's, if they have the recorded hash."""
    recorded = store.attrs["image_ids_sha256"]
    try:
        if protocol.ids_sha256(store.image_ids) == recorded:
            return store.image_ids.tolist()
    except Exception as error:  # not decodable: try the dataset's ids
        reason = str(error)
    else:
        reason = "they do not match the recorded checksum"
    if protocol.ids_sha256(image_ids[: len(store)]) == recorded:
        return image_ids[: len(store)]
    raise StoreError(
        f"{store.path}: the image ids are damaged ({reason}), and the dataset's ids do not match "
        f"the recorded checksum either; extract into another store"
    )


def _intact(store: FeatureStore) -> bool:
    attrs = store.attrs
    try:
        return (
            protocol.ids_sha256(store.image_ids) == attrs["image_ids_sha256"]
            and protocol.labels_sha256(store.labels) == attrs["labels_sha256"]
        )
    except Exception:  # the arrays are unreadable
        return False


def _refuse_changed_labels(store: FeatureStore, stored: list[str], codes: np.ndarray) -> None:
    if protocol.labels_sha256(codes[: len(stored)]) == store.attrs["labels_sha256"]:
        return
    try:
        changed = np.nonzero(store.labels != codes[: len(stored)])[0]
    except Exception:  # the label array is damaged, and the checksums differ
        changed = np.arange(len(stored))
    raise StoreError(
        f"{store.path}: labels of {len(changed)} stored image(s) changed "
        f"({_some([stored[k] for k in changed])}); extract into another store"
    )


def _grow(store: FeatureStore, ids: list[str], codes: np.ndarray, label_names: list[str]) -> None:
    """Extend every array first; write the root's attributes, which are authoritative, last."""
    objects = store.objects
    root = root_group(objects, "r+")
    for name in store.sources():
        group = zarr.open_group(objects.zarr_store, path=store.source(name).group, mode="r+")
        for _, array in group.arrays():
            if array.shape[0] < len(ids):
                array.resize((len(ids), *array.shape[1:]))
    put_images(root, ids, codes)
    root.update_attributes(
        {
            "image_count": len(ids),
            "image_ids_sha256": protocol.ids_sha256(ids),
            "labels_sha256": protocol.labels_sha256(codes),
            "label_names": label_names,
        }
    )


def _some(items: list[str]) -> str:
    return ", ".join(map(str, items[:3])) + (", ..." if len(items) > 3 else "")
