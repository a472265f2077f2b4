"""What several analyses ask of a store: its single-scale parts, its batches, its image ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

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
    store: Any, sources: Sequence[str], *, progress: bool = False, label: str = ""
) -> Iterable[Any]:
    """Batches of the store in shard order, under a progress bar on standard error if asked."""
    found = store.stream(list(sources))
    if not progress:
        return found
    from tqdm.auto import tqdm

    total = -(-len(store.image_ids) // store.shard_images)
    return tqdm(found, desc=label, unit="shard", total=total, leave=False)


def refuse_shared_images(train: Any, test: Any) -> None:
    """Refuse two splits that have images in common.

    Raises
    ------
    InputError
        Says how many ids are in both, and names one.
    """
    shared = np.intersect1d(train.image_ids, test.image_ids)
    if len(shared):
        raise InputError(
            f"train and test share {len(shared)} of {len(test.image_ids)} test images, such as "
            f"{shared[0]!r}: test figures would not be held out; make splits without common images"
        )
