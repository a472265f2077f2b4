"""Images to look at again: near-duplicates across train and test, and doubtful labels in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.reading.labels import match_labels
from analyses.reading.pooled import Pooling, pool
from analyses.statistics.nearest_neighbours import (
    label_error_candidates,
    near_duplicates,
    normalise,
)
from feature_store import FeatureStore


@dataclass(frozen=True)
class Candidates:
    """Result of :func:`find`."""

    duplicates: pd.DataFrame
    """``test`` and ``train`` (image ids) and their cosine ``similarity``, highest first."""
    label_errors: pd.DataFrame
    """``split`` (train or test), ``image_id``, ``label``, ``suggested`` and ``share`` (of its
    neighbours in both splits that have the suggested label), highest first."""
    unseen_classes: dict[str, int]
    """Class that training lacks to its number of test images, whose labels are not looked at."""


def find(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    source: str,
    pooling: Pooling = "mean",
    threshold: float = 0.98,
    device: str = "cpu",
) -> Candidates:
    """Compare all images of both stores in one source's pooled, centred features by cosine.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Labelled; classes are matched by name.
    pooling : {"mean", "prefix"}
        Vector of an image: the mean over its tokens, or its first prefix token (CLS).
    threshold : float
        Smallest cosine of a near-duplicate.

    Raises
    ------
    InputError
        A store without labels.
    """
    train, test = (pool(store, [source], pooling) for store in (train_store, test_store))
    split = match_labels(train_store, test_store, train.rows, test.rows)
    seen, unseen = (pooled.features(source).load() for pooled in (train, test))
    mean = seen.mean(0)
    seen, unseen = normalise(seen, mean), normalise(unseen, mean)
    ids = train_store.image_ids[train.rows], test_store.image_ids[test.rows]

    pairs = near_duplicates(seen, unseen, threshold=threshold, device=device)
    pairs.insert(0, "test", ids[1][pairs.pop("test_row")])
    pairs.insert(1, "train", ids[0][pairs.pop("train_row")])

    known = split.test >= 0  # no neighbour can agree on a class that training lacks
    rows = np.concatenate([seen[split.train_rows], unseen[split.test_rows][known]])
    labels = np.concatenate([split.train, split.test[known]])
    names = np.concatenate([ids[0][split.train_rows], ids[1][split.test_rows][known]])
    doubtful = label_error_candidates(rows, labels, device=device)
    at = doubtful["row"].to_numpy()
    classes = np.array(split.names, dtype=object)
    errors = pd.DataFrame(
        {
            "split": np.where(at < len(split.train), "train", "test"),
            "image_id": names[at],
            "label": classes[labels[at]],
            "suggested": classes[doubtful["suggested"]],
            "share": doubtful["share"],
        }
    )
    return Candidates(pairs, errors, split.unseen)
