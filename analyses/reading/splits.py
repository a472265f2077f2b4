"""Refusal of a test split that shares images with the training split."""

from __future__ import annotations

import numpy as np

from analyses.reading.features import Features
from feature_store.dataset_name import collection
from feature_store.errors import InputError


def refuse_shared_images(train: Features, test: Features) -> None:
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
