"""Images that training and test have in common: refused by id, left out of the test by pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analyses.reading.features import Features
from feature_store import FeatureStore
from feature_store.dataset_name import collection, family, is_imagenet_test
from feature_store.errors import InputError, some
from feature_store.recorded_images import recorded_images


@dataclass(frozen=True)
class HeldOut:
    """Which test images an analysis leaves out, and why."""

    left_out: np.ndarray
    """bool, dims (test image,): rows to leave out of the test set."""
    shared: list[tuple[str, str]] = field(default_factory=list)
    """Id of a test image and of a training image with the same pixels."""
    repeated: list[list[str]] = field(default_factory=list)
    """Ids of training images with the same pixels as each other."""
    datasets: list[str] = field(default_factory=list)
    """Names of the two datasets if they do not look like splits of one; else empty."""

    def report(self) -> dict[str, Any]:
        """JSON-able: ``shared``, whether ``left_out``, ``repeated``, and ``datasets`` if any."""
        apart = {"datasets": self.datasets} if self.datasets else {}
        return apart | {
            "shared": [list(pair) for pair in self.shared],
            "left_out": bool(self.left_out.any()),
            "repeated": self.repeated,
        }


def held_out(train: Features, test: Features, *, keep_shared: bool = False) -> HeldOut:
    """Find test images whose pixels are in the training set, under whatever name.

    Pixels are compared by their fingerprints: those in commit records, or those of the images that
    a stream decodes. Images without one, in stores of protocol version 1, are compared by id alone.

    Parameters
    ----------
    keep_shared : bool
        Leave no test image out.

    Raises
    ------
    InputError
        As :func:`refuse_shared_images`; or all test images are in the training set.
    """
    refuse_shared_images(train, test)
    seen, unseen = _fingerprints(train), _fingerprints(test)
    known, first = np.unique(seen, return_index=True)
    place = np.minimum(np.searchsorted(known, unseen), len(known) - 1)
    shared = (known[place] == unseen) & (unseen > 0)
    if shared.any() and shared[unseen > 0].all() and not keep_shared:
        raise InputError(
            f"all {shared.sum()} test images have the pixels of training images, such as "
            f"{str(test.image_ids[shared][0])!r}: nothing is held out; make splits without common "
            f"images, or keep them with --keep-shared"
        )
    pairs = [
        (str(test.image_ids[row]), str(train.image_ids[first[place[row]]]))
        for row in np.flatnonzero(shared)
    ]
    left_out = np.zeros_like(shared) if keep_shared else shared
    located = [getattr(side, "located_dataset", side.dataset) for side in (train, test)]
    several = len(set(map(family, located))) > 1 and not is_imagenet_test(test.dataset)
    apart = [train.dataset, test.dataset] if several else []
    return HeldOut(left_out, pairs, _repeated(train.image_ids, seen), apart)


def repeated_images(features: Features) -> list[list[str]]:
    """Ids of images with the same pixels, group by group."""
    return _repeated(features.image_ids, _fingerprints(features))


def _repeated(image_ids: np.ndarray, seen: np.ndarray) -> list[list[str]]:
    known, count = np.unique(seen, return_counts=True)
    twice = known[(count > 1) & (known > 0)]
    return [[str(i) for i in image_ids[seen == value]] for value in twice]


def image_notes(report: Mapping[str, Any]) -> list[str]:
    """The lines of prose that tell of a report's images; none where all are different."""
    shared, repeated = report.get("shared") or [], report["repeated"] or []
    notes = []
    if report.get("compared") == "ids":
        notes.append(
            "train and test images were compared by their ids, not by their pixels: copies under "
            "other names would count as unseen"
        )
    if datasets := report.get("datasets"):
        notes.append(
            f"warning: train is {datasets[0]} and test is {datasets[1]}: if these are different "
            f"datasets, test figures also show what does not carry over from one to the other"
        )
    if shared:
        done = "were left out" if report["left_out"] else "were kept"
        notes.append(
            f"{len(shared)} test image(s) with the pixels of training images {done}: "
            f"{some([f'{test} = {train}' for test, train in shared])}"
        )
    if repeated:
        notes.append(
            f"{sum(map(len, repeated)) - len(repeated)} training image(s) repeat the pixels of "
            f"others: {some([' = '.join(alike) for alike in repeated])}"
        )
    return notes


def refuse_shared_images(train: Features, test: Features) -> None:
    """Refuse two splits that have images in common: equal ids in one collection of images.

    Equal ids in two folders, or in two splits of a named collection other than ``maps:``, are
    different images.

    Raises
    ------
    InputError
        Says how many ids are in both, and names one.
    """
    if _collection(train) != _collection(test):
        return
    shared = np.intersect1d(train.image_ids, test.image_ids)
    if len(shared):
        raise InputError(
            f"train and test share {len(shared)} of {len(test.image_ids)} test images, such as "
            f"{str(shared[0])!r}: test figures would not be held out; make splits without common "
            f"images"
        )


def _fingerprints(features: Features) -> np.ndarray:
    """uint64, dims (image,); 0 where unknown."""
    if isinstance(features, FeatureStore):
        return recorded_images(features).fingerprints
    return features.fingerprints


def _collection(features: Features) -> str:
    if isinstance(features, FeatureStore):
        return collection(features.located_dataset)
    return collection(features.dataset)
