"""Compare a store with its dataset: same images, new images to add, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from feature_store import protocol
from feature_store.errors import StoreError, some
from feature_store.image_arrays import document_problems
from feature_store.listing import stored_sources
from feature_store.metadata import repair_arrays
from feature_store.root import label_codes, put_root
from feature_store.store import FeatureStore
from feature_store.stored_source import read_source


def reconcile(
    store: FeatureStore, image_ids: Sequence[str], labels: Any, label_names: Sequence[str]
) -> FeatureStore:
    """The store, extended to every image of the dataset.

    Stored images keep their rows; new images get rows at the end, whatever their place in the
    dataset. Committed shards remain valid, and only the new rows are missing. Ids, labels, dims
    (image,) or None, and class names are the dataset's present ones.

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


def is_current(
    store: FeatureStore, image_ids: Sequence[str], labels: Any, label_names: Sequence[str]
) -> bool:
    """Whether :func:`reconcile` has nothing to write; raises as it does."""
    ids, _, _ = grown(store, image_ids, labels, label_names)
    return len(ids) == len(store) and _intact(store)


def grown(
    store: FeatureStore, image_ids: Sequence[str], labels: Any, label_names: Sequence[str]
) -> tuple[list[str], np.ndarray, list[str]]:
    """Images of the store after :func:`reconcile`; only reads the store.

    Returns
    -------
    image_ids : list of str
        Stored ids in their order, then the new ones.
    labels : (image,) int32
        Labels, numbered as in `label_names`; -1 = unlabelled.
    label_names : list of str
        Stored names, then the new ones.

    Raises
    ------
    StoreError
        As :func:`reconcile`.
    """
    stored = list(trusted_ids(store, image_ids))
    position = {image_id: row for row, image_id in enumerate(image_ids)}
    removed = [i for i in stored if i not in position]
    if removed:
        raise StoreError(
            f"{store.path} holds {len(removed)} image(s) that the dataset no longer has "
            f"({some(removed)}). Stored rows are never dropped: restore the images (or raise "
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
    """Stored class names followed by new ones, and the dataset's labels in that numbering."""
    now = [str(n) for n in label_names]
    names = stored_names + [n for n in now if n not in set(stored_names)]
    number = {name: code for code, name in enumerate(names)}
    table = np.array([number[n] for n in now] + [-1], dtype=np.int32)  # the last is for label -1
    return names, table[label_codes(labels, images, now)]


def trusted_ids(store: FeatureStore, image_ids: Sequence[str]) -> Sequence[str]:
    """Stored ids; if that array is damaged, the dataset's ids if they have the recorded hash."""
    recorded = store.attrs["image_ids_sha256"]
    try:
        return store.image_ids.tolist()
    except StoreError as error:  # try the dataset's ids
        reason = str(error)
    if protocol.ids_sha256(image_ids[: len(store)]) == recorded:
        return image_ids[: len(store)]
    raise StoreError(
        f"{store.path}: the image ids are damaged ({reason}), and the dataset's ids do not match "
        f"the recorded checksum either; extract into another store"
    )


def _intact(store: FeatureStore) -> bool:
    """Whether ids, labels and the documents of the root's arrays are undamaged."""
    try:
        store.image_ids, store.labels  # noqa: B018 the first read checks them
    except StoreError:
        return False
    return not document_problems(store.objects, store.attrs)


def _refuse_changed_labels(store: FeatureStore, stored: list[str], codes: np.ndarray) -> None:
    if protocol.labels_sha256(codes[: len(stored)]) == store.attrs["labels_sha256"]:
        return
    try:
        changed = np.nonzero(store.labels != codes[: len(stored)])[0]
    except StoreError:  # the label array is damaged, and the checksums differ
        changed = np.arange(len(stored))
    raise StoreError(
        f"{store.path}: labels of {len(changed)} stored image(s) changed "
        f"({some([stored[k] for k in changed])}); extract into another store"
    )


def _grow(store: FeatureStore, ids: list[str], codes: np.ndarray, label_names: list[str]) -> None:
    """Extend every array first; write the root's attributes, which are authoritative, last."""
    objects, size = store.objects, (len(ids), store.shard_images)
    for source in stored_sources(objects):
        repair_arrays(objects, source, size, read_source(objects, source))
    kept = ("dataset", "dataset_path", "shard_images")
    put_root(objects, {name: store.attrs[name] for name in kept}, ids, codes, label_names)
