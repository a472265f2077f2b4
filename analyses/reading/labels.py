"""Labels of a training and a test store in one numbering; refusals of what cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analyses.reading.label_rule import (
    LabelRule,
    Score,
    described,
    label_rule,
    refuse_several_classes,
)
from feature_store import FeatureStore, InputError
from feature_store.errors import some


@dataclass(frozen=True)
class LabelledSplit:
    """Labels of the training and test images in one numbering, 0 to classes - 1."""

    names: list[str]
    """Classes that occur in training, in the training store's order."""
    train_rows: np.ndarray
    """bool, dims (pooled image,): images with a label."""
    test_rows: np.ndarray
    """As `train_rows`."""
    train: np.ndarray
    """int, dims (labelled image,)."""
    test: np.ndarray
    """int, dims (labelled image,); -1: a class that no training image has. It counts as an error.
    With a rule: labels of the test store."""
    unseen: dict[str, int]
    """Each such class to its number of test images."""
    rule: LabelRule | None = None
    """How predictions are scored, if not by one class per image and all classes."""
    described: dict[str, Any] | None = None
    """That rule in words and figures, for an ``imagenet:`` test set."""

    @property
    def score(self) -> Score | None:
        """The rule's loss and hits; None for the usual ones."""
        return None if self.rule is None else self.rule.loss_and_hits


def match_labels(
    train_store: FeatureStore,
    test_store: FeatureStore,
    train: np.ndarray,
    test: np.ndarray,
    *,
    rules: bool = False,
) -> LabelledSplit:
    """Labels of the given store rows, classes matched by name.

    Parameters
    ----------
    train_store, test_store : FeatureStore
    train, test : int array
        Store rows.
    rules : bool
        Whether the caller scores by :attr:`LabelledSplit.rule`.

    Raises
    ------
    InputError
        A store without labels, fewer than two classes in training, test images of other
        classes only, or a test set with a rule that the caller does not know.
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
    refuse_several_classes(train_store, raw_train)
    number = {name: n for n, name in enumerate(names)}
    of_train = np.array([number.get(name, -1) for name in train_store.label_names])
    of_test = np.array([number.get(name, -1) for name in test_store.label_names])
    rule = label_rule(test_store, names)
    if rule is not None:
        of_test = np.where(rule.right[:-1].any(1), np.arange(len(of_test)), -1)
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
    if rule is not None and not rules:
        raise InputError(
            f"{test_store.path} ({test_store.dataset}) compares {len(rule.compared)} of "
            f"{len(names)} classes or has images of several; only `workbench probe` scores it so"
        )
    codes, counts = np.unique(raw_test[test_rows][matched < 0], return_counts=True)
    unseen = {test_store.label_names[c]: int(n) for c, n in zip(codes, counts, strict=True)}
    labels = of_train[raw_train[train_rows]]
    compared = len(names) if rule is None else len(rule.compared)
    said = described(test_store, raw_test[test_rows], compared)
    return LabelledSplit(names, train_rows, test_rows, labels, matched, unseen, rule, said)


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
