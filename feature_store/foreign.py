"""Import features that other tools made, as a source of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from feature_store.errors import InputError
from feature_store.metadata import DTYPES
from feature_store.objects import connect
from feature_store.root import can_create
from feature_store.source import Source
from feature_store.store import FeatureStore, create

BLOCK = 256
"""Images whose values are checked at a time."""
TAP = "features"
"""Tap of a source without one."""


def import_features(
    path: str | Path,
    features: Any,
    *,
    source: str,
    image_ids: Sequence[str],
    manifest: Mapping[str, Any],
    labels: Sequence[str | None] | None = None,
    prefix: Any = None,
    dataset: str = "foreign",
    shard_images: int = 256,
) -> FeatureStore:
    """Store arrays as a single-scale source, so that every analysis reads them.

    The arrays are read twice, shard by shard: once for a checksum, which is part of the identity,
    and once to store them. Repeat the call to resume.

    Parameters
    ----------
    path : str or Path
        A new store, or an existing store of the same images in any order.
    features : array-like, dims (image, row, col, channel) or (image, channel)
        Anything with a shape and rows, such as an array, a memory map, or an array of HDF5, zarr or
        Dask. A vector per image becomes a map of one token. float16 and float32 keep their dtype;
        others are stored as float32.
    source : str
        Name of the features, ``MODEL[#TAP]@SCALE``, such as ``thingsvision:resnet50#avgpool@224``.
    image_ids : sequence of str
        One per image, unique.
    manifest : mapping
        Everything known to determine the values, as JSON: tool, model, weights, preprocessing. The
        stored manifest has it under ``made_by``, beside ``foreign: true``.
    labels : sequence of str, optional
        Class name of each image; empty or None = unlabelled.
    prefix : array-like, dims (image, prefix, channel), optional
        Prefix tokens.
    dataset : str
        Name of the images in a new store, such as ``folder:photos``, where galleries find them.
    shard_images : int
        Images per shard of a new store.

    Raises
    ------
    InputError
        Shapes, ids or labels do not fit together, or a value is not finite.
    StoreError
        The source is stored with other values or another manifest.
    """
    single = _single(source)
    shape = _shape(features, len(image_ids))
    for name, given in (("prefix", prefix), ("labels", labels)):
        if given is not None and len(given) != len(image_ids):
            raise InputError(f"{len(given)} {name} for {len(image_ids)} image ids")
    if prefix is not None and (len(prefix.shape) != 3 or prefix.shape[2] != shape[3]):
        raise InputError(
            f"prefix has shape {tuple(prefix.shape)}, expected (image, prefix, channel) with "
            f"{shape[3]} channels, as the features"
        )
    ids = list(map(str, image_ids))
    named = None if labels is None else ["" if label is None else str(label) for label in labels]
    found = np.asarray(features[:1]).dtype.name
    dtype = found if found in DTYPES else "float32"
    objects = connect(path)
    if can_create(objects):
        order = np.arange(len(ids))
        values = _checksum([features, prefix], order, ids, dtype)
        store = _created(path, ids, named, dataset, shard_images)
    else:
        store = FeatureStore(objects)
        _require_same_images(store, ids, named)
        place = {image_id: n for n, image_id in enumerate(ids)}
        order = np.array([place[image_id] for image_id in store.image_ids.tolist()])
        values = _checksum([features, prefix], order, ids, dtype)
    writer = store.add_source(
        single,
        manifest={
            "foreign": True,
            "made_by": dict(manifest),
            "model": single.model,
            "tap": single.tap,
            "default_tap": single.tap,
            "values_xxh3": values,
        },
        grid=(shape[1], shape[2]),
        channels=shape[3],
        prefix=0 if prefix is None else prefix.shape[1],
        dtype=dtype,
    )
    for shard in writer.missing():
        rows = order[writer.rows(shard).start : writer.rows(shard).stop]
        first = None if prefix is None else _rows(prefix, rows)
        writer.commit(shard, _rows(features, rows).reshape(-1, *shape[1:]), first)
    return FeatureStore(store.objects)


def _single(source: str) -> Source:
    parsed = Source.parse(source)
    if len(parsed.scales) > 1:
        raise InputError(f"{source} names {len(parsed.scales)} scales; import one scale at a time")
    return parsed if parsed.tap else replace(parsed, tap=TAP)


def _shape(features: Any, images: int) -> tuple[int, ...]:
    shape = tuple(features.shape)
    shape = (shape[0], 1, 1, shape[1]) if len(shape) == 2 else shape
    if len(shape) != 4:
        raise InputError(
            f"features have shape {shape}, expected (image, row, col, channel) or (image, channel)"
        )
    if shape[0] != images:
        raise InputError(f"{shape[0]} rows of features for {images} image ids")
    return shape


def _created(
    path: str | Path,
    image_ids: list[str],
    labels: list[str] | None,
    dataset: str,
    shard_images: int,
) -> FeatureStore:
    names = sorted({*(labels or [])} - {""})
    number = {name: n for n, name in enumerate(names)}
    codes = None if labels is None else [number.get(label, -1) for label in labels]
    return create(
        path, dataset=dataset, image_ids=image_ids, labels=codes, label_names=names,
        shard_images=shard_images,
    )  # fmt: skip


def _require_same_images(
    store: FeatureStore, image_ids: list[str], labels: list[str] | None
) -> None:
    """Refuse images or classes that differ from those of a store."""
    if len(set(image_ids)) != len(image_ids):
        raise InputError(f"{len(image_ids) - len(set(image_ids))} image ids repeat")
    other = set(image_ids) ^ set(store.image_ids.tolist())
    if other:
        raise InputError(
            f"{store.path} holds {len(store)} images, and {len(image_ids)} were given; "
            f"{len(other)} of them, such as {min(other)!r}, are only in one of the two. Give "
            "features of the same images, or name another store"
        )
    if labels is not None:
        stored = dict(zip(store.image_ids.tolist(), store.labels.tolist(), strict=True))
        classes = [*store.label_names, ""]
        wrong = [
            image_id
            for image_id, label in zip(image_ids, labels, strict=True)
            if classes[stored[image_id]] != label
        ]
        if wrong:
            raise InputError(
                f"{len(wrong)} labels, such as the one of {wrong[0]!r}, differ from the labels in "
                f"{store.path}"
            )


def _rows(array: Any, rows: np.ndarray) -> np.ndarray:
    """Some rows in the given order; HDF5 reads rows in ascending order only."""
    ascending, back = np.unique(rows, return_inverse=True)
    first, last = int(ascending[0]), int(ascending[-1]) + 1
    whole = last - first == len(ascending)
    found = np.asarray(array[first:last] if whole else array[ascending])
    return found[back]


def _checksum(
    arrays: Sequence[Any], order: np.ndarray, image_ids: Sequence[str], dtype: str
) -> str:
    """xxh3-128 in hex of the values in the given order, and of their shapes and dtypes.

    Raises
    ------
    InputError
        A value is not finite in the dtype to be stored; raised before anything is written.
    """
    digest = xxhash.xxh3_128()
    for array in arrays:
        if array is None:
            continue
        for start in range(0, len(order), BLOCK):
            values = np.ascontiguousarray(_rows(array, order[start : start + BLOCK]))
            with np.errstate(over="ignore"):
                finite = np.isfinite(values.astype(dtype)).reshape(len(values), -1).all(1)
            if not finite.all():
                bad = image_ids[order[start + int(np.argmin(finite))]]
                raise InputError(
                    f"features of {bad!r} contain a value that is not finite in {dtype}; leave the "
                    "image out, or repair its features"
                )
            if not start:
                digest.update(f"{tuple(array.shape)} {values.dtype.str}".encode())
            digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
