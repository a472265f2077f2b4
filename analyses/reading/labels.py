"""Labels of a training and a test store in one numbering; refusals of what cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_store import FeatureStore, InputError
from feature_store.errors import some


@dataclass(frozen=True)
class LabelledSplit:
    """Labels of the training and test images in one numbering, 0 to classes - 1.

    Attributes
    ----------
    names : list of str
        Classes that occur in training, in the training store's order.
    train_rows, test_rows : bool array, dims (pooled image,)
        Images with a label.
    train, test : int array, dims (labelled image,)
        -1 in test: a class that no training image has. It counts as an error.
    unseen : dict of str to int
        Each such class to its number of test images.
    """

    names: list[str]
    train_rows: np.ndarray
    test_rows: np.ndarray
    train: np.ndarray
    test: np.ndarray
    unseen: dict[str, int]


def match_labels(
    train_store: FeatureStore, test_store: FeatureStore, train: np.ndarray, test: np.ndarray
) -> LabelledSplit:
    """Labels of the given store rows, classes matched by name.

    Raises
    ------
    InputError
        A store without labels, fewer than two classes in training, or test images of other
        classes only.
    """
    raw_train, raw_test = train_store.labels[train], test_store.labels[test]
    for store, labels in ((train_store, raw_train), (test_store, raw_test)):
        if not (labels >= 0).any():
            raise InputError(
                f"{store.path} ({store.dataset}) has no labels; a probe needs them. Without labels "
                "there are: workbench reconstruct, similarity, memorize"
            )
    present = np.unique(raw_train[raw_train >= 0])
    names = [train_store.label_names[c] for c in present]
    if len(names) < 2:
        raise InputError(
            f"{train_store.path} has the single class {names[0]!r}; a probe needs at least two"
        )
    number = {name: n for n, name in enumerate(names)}
    of_train = np.array([number.get(name, -1) for name in train_store.label_names])
    of_test = np.array([number.get(name, -1) for name in test_store.label_names])
    train_rows, test_rows = raw_train >= 0, raw_test >= 0
    matched = of_test[raw_test[test_rows]]
    if (matched < 0).all():
        theirs = [test_store.label_names[c] for c in np.unique(raw_test[test_rows])]
        raise InputError(
            f"no class of the test images occurs in training: {test_store.path} has "
            f"{some([*map(repr, theirs)], 5)}; {train_store.path} has "
            f"{some([*map(repr, names)], 5)}. Classes are matched by name; "
            "name them alike in both datasets, or take a test split of the same dataset"
        )
    codes, counts = np.unique(raw_test[test_rows][matched < 0], return_counts=True)
    unseen = {test_store.label_names[c]: int(n) for c, n in zip(codes, counts, strict=True)}
    labels = of_train[raw_train[train_rows]]
    return LabelledSplit(names, train_rows, test_rows, labels, matched, unseen)


def unseen_lines(unseen: dict[str, int]) -> list[str]:
    """A line that names the classes that training lacks; no line if it lacks none."""
    return [f"warning: counted as errors are {unseen_counts(unseen)}"] if unseen else []


def unseen_counts(unseen: dict[str, int]) -> str:
    """Number of test images of classes that training lacks, and names of these classes."""
    classes = ", ".join(f"{name!r} ({count})" for name, count in unseen.items())
    return (
        f"{sum(unseen.values())} test image(s) of {len(unseen)} class(es) that training lacks: "
        f"{classes}"
    )
