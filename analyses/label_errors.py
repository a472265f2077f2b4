"""Images to look at again: near-duplicates across train and test, and doubtful labels in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analyses.reading.labels import match_labels
from analyses.reading.pooled import Pooling, pool
from analyses.statistics.nearest_neighbours import (
    label_error_candidates,
    near_duplicates,
    normalise,
)


@dataclass(frozen=True)
class Suspects:
    """What :func:`find` found.

    Attributes
    ----------
    duplicates : pandas.DataFrame
        ``test`` and ``train`` (image ids) and their cosine ``similarity``, highest first.
    label_errors : pandas.DataFrame
        ``split`` (train or test), ``image_id``, ``label``, ``suggested`` and ``share`` (of its
        neighbours in both splits that have the suggested label), highest first.
    """

    duplicates: pd.DataFrame
    label_errors: pd.DataFrame


def find(
    train_store: Any,
    test_store: Any,
    *,
    source: str,
    pooling: Pooling = "mean",
    threshold: float = 0.98,
    device: str = "cpu",
) -> Suspects:
    """Compare all images of both stores in one source's pooled, centred features by cosine.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Labelled; classes are matched by name.
    source : str
        Whose features are compared.
    pooling : {"mean", "prefix"}
        What stands for an image.
    threshold : float
        Smallest cosine of a near-duplicate.
    device : str
        Where the search runs.

    Raises
    ------
    InputError
        A store without labels.
    """
    train, test = (pool(store, [source], pooling) for store in (train_store, test_store))
    split = match_labels(train_store, test_store, train.rows, test.rows)
    seen, asked = (pooled.features(source).load() for pooled in (train, test))
    mean = seen.mean(0)
    seen, asked = normalise(seen, mean), normalise(asked, mean)
    ids = train_store.image_ids[train.rows], test_store.image_ids[test.rows]

    pairs = near_duplicates(seen, asked, threshold=threshold, device=device)
    pairs.insert(0, "test", ids[1][pairs.pop("test_row")])
    pairs.insert(1, "train", ids[0][pairs.pop("train_row")])

    known = split.test >= 0  # a class that training lacks has no neighbours to agree with
    rows = np.concatenate([seen[split.train_rows], asked[split.test_rows][known]])
    labels = np.concatenate([split.train, split.test[known]])
    names = np.concatenate([ids[0][split.train_rows], ids[1][split.test_rows][known]])
    found = label_error_candidates(rows, labels, device=device)
    at = found["row"].to_numpy()
    classes = np.array(split.names, dtype=object)
    errors = pd.DataFrame(
        {
            "split": np.where(at < len(split.train), "train", "test"),
            "image_id": names[at],
            "label": classes[labels[at]],
            "suggested": classes[found["suggested"]],
            "share": found["share"],
        }
    )
    return Suspects(pairs, errors)
