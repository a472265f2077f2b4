"""How predictions of ImageNet's classes are scored on other test sets of ImageNet.

A head on ImageNet's 1,000 classes is right about an image if its largest score, among the classes
that the test set names, is that of one of the image's classes:

    hit(i) = argmax_{c in C} f_c(i) in R(i),
    loss(i) = log sum_{c in C} exp f_c(i) - log sum_{c in R(i)} exp f_c(i)

with C the classes in the names of the test set's labels, and R(i) those of the image's label. With
one class per image and C all classes, this is the usual accuracy and cross-entropy.

Source: Beyer et al. (2020), arXiv 2006.07159, section 3.1 (several labels); Hendrycks et al.,
arXiv 1907.07174 and 2006.16241 (the classes of -A and -R alone).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from feature_store import FeatureStore, InputError
from feature_store.dataset_name import EITHER, is_imagenet_test

Score = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Logits, dims (image, class), and labels to loss in nats and hits, dims (image,) each."""
RULE = "the largest score among the classes of the test set is right if the image has that class"


@dataclass(frozen=True)
class LabelRule:
    """Which classes of a head are compared, and which of them are right for each label.

    Attributes
    ----------
    compared : int array, dims (compared class,)
        Index into the head's classes.
    right : bool array, dims (label + 1, compared class)
        The last row is all false: label -1.
    """

    compared: np.ndarray
    right: np.ndarray

    def hits(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether the largest score is right: bool, dims (image, ...).

        Parameters
        ----------
        scores : float array, dims (image, ..., class)
        labels : int array, dims (image,)
            Index into the test set's label names; -1 is never right.
        """
        best = scores[..., self.compared].argmax(-1)
        return self.right[labels.reshape(-1, *[1] * (best.ndim - 1)), best]

    def loss_and_hits(
        self, logits: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Loss in nats (infinite without a right class) and hits, dims (image,) each."""
        compared = logits[:, self.compared]
        right = np.where(self.right[labels], compared, -np.inf)
        return logsumexp(compared, axis=1) - logsumexp(right, axis=1), self.hits(logits, labels)


def classes_of(store: FeatureStore) -> list[tuple[str, ...]]:
    """The classes in each label name of a store: one, but for some ``imagenet:`` datasets."""
    if not is_imagenet_test(store.dataset):
        return [(name,) for name in store.label_names]
    return [tuple(name.split(EITHER)) for name in store.label_names]


def compared_names(store: FeatureStore) -> list[str]:
    """Every class that the labels of a store name, in order, once.

    Raises
    ------
    InputError
        The store has no labels.
    """
    if not store.label_names:
        raise InputError(f"{store.path} ({store.dataset}) has no labels; name a labelled dataset")
    return list(dict.fromkeys(name for names in classes_of(store) for name in names))


def label_rule(store: FeatureStore, names: Sequence[str]) -> LabelRule | None:
    """The rule for a test store and a head's classes; None where it is the usual one.

    Parameters
    ----------
    store : FeatureStore
        Test store.
    names : sequence of str
        The head's classes, in its order.
    """
    named, wanted = classes_of(store), set(compared_names(store))
    if all(len(one) == 1 for one in named) and (
        not is_imagenet_test(store.dataset) or wanted.issuperset(names)
    ):
        return None
    compared = np.array([k for k, name in enumerate(names) if name in wanted], np.int64)
    place = {names[k]: n for n, k in enumerate(compared)}
    right = np.zeros((len(named) + 1, len(compared)), bool)
    for label, one in enumerate(named):
        right[label, [place[name] for name in one if name in place]] = True
    return LabelRule(compared, right)


def refuse_several_classes(store: FeatureStore, labels: np.ndarray) -> None:
    """Refuse labels of more than one class where every image must have one.

    Raises
    ------
    InputError
        Such a label is in use.
    """
    several = [k for k in np.unique(labels[labels >= 0]) if len(classes_of(store)[k]) > 1]
    if several:
        raise InputError(
            f"{store.path} ({store.dataset}) has images of several classes, such as "
            f"{store.label_names[several[0]]!r}; only a test store of `workbench probe` may"
        )


def described(store: FeatureStore, labels: np.ndarray, compared: int) -> dict[str, Any] | None:
    """The rule in words and figures; None for a store that is not an ``imagenet:`` test set.

    Parameters
    ----------
    store : FeatureStore
    labels : int array, dims (image,)
        Labels of the scored images.
    compared : int
        Number of classes that are compared.
    """
    if not is_imagenet_test(store.dataset):
        return None
    several = np.array([len(one) > 1 for one in classes_of(store)])
    return {
        "rule": RULE,
        "compared_classes": compared,
        "images_of_several_classes": int(several[labels].sum()),
    }


def rule_lines(rule: dict[str, Any] | None) -> list[str]:
    """The rule as a line; no line without one."""
    if rule is None:
        return []
    left_out = rule.get("images_left_out")
    return [
        f"test labels: {rule['rule']} ({rule['compared_classes']:,} classes, "
        f"{rule['images_of_several_classes']:,} images with several of them"
        + (f"; {left_out:,} images with none were left out)" if left_out else ")")
    ]
