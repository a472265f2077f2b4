"""What several analyses ask of a store: its single-scale parts, its batches, its image ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from feature_store import FeatureStore
from feature_store.dataset_name import collection
from feature_store.errors import InputError


def singles(store: Any, source: str) -> list[str]:
    """Full names of the single-scale sources that a source is made of, in channel order.

    Raises
    ------
    StoreError
        Not stored.
    """
    return [str(single) for single in store.resolve(source).singles()]


def batches(
    store: Any,
    sources: Sequence[str],
    *,
    done: np.ndarray | None = None,
    progress: bool = False,
    label: str = "",
) -> Iterable[Any]:
    """Batches in row order, under a progress bar on standard error if asked.

    `done` (bool, dims (image,)) marks rows that are not needed any more. Only what computes its
    features is told: reading them from a store and dropping them costs little.
    """
    names = list(sources)
    if done is None or isinstance(store, FeatureStore):
        found = store.stream(names)
    else:
        found = store.stream(names, done=done)
    return _with_bar(found, len(store.image_ids), label) if progress else found


def undone(
    batch: Any, sources: Sequence[str], done: np.ndarray | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Tokens and row numbers of those images of a batch that `done` does not mark.

    A batch may hold both kinds: whoever marked them may have read in smaller batches.
    """
    tokens = {name: batch.tokens[name] for name in sources}
    rows = np.arange(len(batch.index)) if done is None else np.flatnonzero(~done[batch.index])
    if len(rows) == len(batch.index):
        return tokens, batch.index
    return {name: part[rows] for name, part in tokens.items()}, batch.index[rows]


def each(sources: Sequence[str], *, progress: bool, label: str) -> Iterable[str]:
    """The sources in turn, under a progress bar on standard error if asked."""
    if not progress:
        return sources
    from tqdm.auto import tqdm

    return tqdm(sources, desc=label, unit="source", leave=False)


def _with_bar(found: Iterable[Any], images: int, label: str) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(desc=label, unit="image", total=images, leave=False) as bar:
        for batch in found:
            yield batch
            bar.update(len(batch.index))


def refuse_shared_images(train: Any, test: Any) -> None:
    """Refuse two splits that have images in common: equal ids in one collection of images.

    Equal ids in two folders, or in two splits of a named collection, are different images.

    Raises
    ------
    InputError
        Says how many ids are in both, and names one.
    """
    if collection(train.dataset) != collection(test.dataset):
        return
    shared = np.intersect1d(train.image_ids, test.image_ids)
    if len(shared):
        raise InputError(
            f"train and test share {len(shared)} of {len(test.image_ids)} test images, such as "
            f"{shared[0]!r}: test figures would not be held out; make splits without common images"
        )
