"""The store that an extraction writes to: opened, created or grown, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import feature_store
from feature_store import FeatureStore, InputError, Source, StoreError, claims, protocol
from feature_store.claims import waited_for
from feature_store.dataset_name import path_of
from feature_store.errors import NewerVersionError
from feature_store.growth import is_current, reconcile
from feature_store.objects import Objects, connect
from feature_store.recorded_images import records
from feature_store.restore import is_damaged_store, restore_root
from feature_store.root import can_create
from feature_store.upgrade import upgrade
from feature_store.verify import Problem, verify, withdraw
from workbench.datasets import Dataset
from workbench.extraction.request import ExtractRequest
from workbench.extraction.same_images import is_at_its_path, require_same_images


def open_target(
    request: ExtractRequest,
    dataset: Dataset,
    log: Callable[[str], None],
    *,
    check_images: bool = True,
) -> FeatureStore:
    """Open the request's store, grown to the dataset, or create it.

    A dataset at another path than the store's is always compared by its images, one at the same
    path with `check_images`.

    Raises
    ------
    InputError
        The store is of another dataset, its images are not the dataset's, something else is at
        the path, or it cannot be written.
    """
    with _reached(request.store):
        objects = connect(request.store)
        there = objects.exists("zarr.json") or is_damaged_store(objects)
        if not (there or can_create(objects)):
            raise InputError(
                f"{request.store} exists and is not a feature store; name a new folder with --store"
            )
        check = partial(
            require_same_images, dataset=dataset, redo_changed=request.redo_changed, log=log
        )
        store = _current(objects, dataset)
        if store is None:
            with waited_for(objects, claims.ROOT):
                store = _current(objects, dataset)
                if store is None:
                    return _written(objects, request, dataset, check, check_images, log)
        if check_images:
            check(store)
        return store


def _current(objects: Objects, dataset: Dataset) -> FeatureStore | None:
    """The store, if nothing has to be written before it can be used."""
    try:
        store = FeatureStore(objects)
    except NewerVersionError:
        raise
    except StoreError:  # it does not exist yet, or its root is damaged
        return None
    if store.version < protocol.VERSION:
        return None
    if store.dataset_path != path_of(dataset.name) or not is_at_its_path(store, dataset.name):
        return None
    return store if is_current(store, *_images(dataset)) else None


def _written(
    objects: Objects,
    request: ExtractRequest,
    dataset: Dataset,
    check: Callable[[FeatureStore], None],
    check_images: bool,
    log: Callable[[str], None],
) -> FeatureStore:
    """Create, restore, upgrade or extend the store; the caller holds the claim on its root."""
    facts: dict[str, Any] = dict(
        dataset=dataset.name,
        dataset_path=path_of(dataset.name),
        image_ids=dataset.image_ids,
        labels=dataset.labels,
        label_names=dataset.label_names,
        shard_images=request.shard_images,
    )
    if can_create(objects):
        return feature_store.create(request.store, **facts)
    try:
        store = FeatureStore(objects)
    except StoreError as error:
        if not is_damaged_store(objects):
            raise
        restore_root(objects, str(error), **facts)
        log(f"{objects.url}: restored the root's metadata from the dataset and commit records")
        store = FeatureStore(objects)
    if check_images or not is_at_its_path(store, dataset.name):
        check(store)
        store = FeatureStore(objects)  # the dataset's path may be another now
    if store.version < protocol.VERSION:
        store = upgrade(store, facts["dataset_path"])
    return reconcile(store, *_images(dataset))


def _images(dataset: Dataset) -> tuple[list[str], Any, list[str]]:
    return dataset.image_ids, dataset.labels, dataset.label_names


def is_new(path: str) -> bool:
    """Whether nothing is there yet, so that :func:`open_target` would create a store.

    Raises
    ------
    InputError
        It cannot be reached.
    """
    with _reached(path):
        return can_create(connect(path))


@contextmanager
def _reached(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write the store {path} ({error.strerror or error}); name a folder "
            f"that you may write to with --store"
        ) from error


def withdraw_damaged(
    store: FeatureStore, wanted: Sequence[Source], log: Callable[[str], None]
) -> None:
    """Re-read the store and take back the commits of the wanted sources' damaged shards."""
    names = set(map(str, wanted))
    problems = [p for p in verify(store).problems if p.kind == "damaged" and p.where in names]
    for problem in problems:
        log(f"to be redone: {problem}")
    withdraw(store, problems)


def withdraw_failed(
    store: FeatureStore, wanted: Sequence[Source], log: Callable[[str], None]
) -> None:
    """Take back the commits of the wanted sources' shards that hold images without features."""
    stored = set(store.sources())
    problems = [
        Problem(name, record.shard, "damaged", f"{len(record.failed)} image(s) could not be read")
        for name in map(str, wanted)
        if name in stored
        for record in records(store.source(name))
        if record.failed
    ]
    for problem in problems:
        log(f"to be read again: {problem.where} shard {problem.shard}: {problem.reason}")
    withdraw(store, problems)
