"""What a linear probe of whole images makes of single tokens, and which images it gets wrong.

The head is trained on each image's mean token. Being linear, it answers for tokens too, and the
mean of its logits over an image's tokens is its logits for the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyses.linear.head import Head
from analyses.linear.logistic import HeadConfig, LogisticProblem
from analyses.probe import choose_l2, stratified_folds
from analyses.reading.pooled import FeatureRows
from feature_store import InputError

FOLDS = 5
"""Groups of images that choose the penalty and that are held out in turn."""
HEAD = HeadConfig(tolerance=1e-4)
"""Stops early: a picture does not show the digits after that."""


@dataclass(frozen=True)
class TokenProbe:
    """A trained head and its classes."""

    head: Head
    classes: np.ndarray
    """int, dims (class,): the label of each of the head's outputs."""

    def labels(self, tokens: np.ndarray) -> np.ndarray:
        """Label of every token: dims (..., channel) to (...), int; -1 for an image that failed."""
        logits = np.asarray(tokens, np.float64) @ self.head.weight + self.head.bias
        failed = np.isnan(logits).any(-1)
        return np.where(failed, -1, self.classes[np.nan_to_num(logits).argmax(-1)])


def fit_probe(features: np.ndarray, labels: np.ndarray) -> TokenProbe:
    """Train the head on every labelled image, its penalty chosen on held-out ones.

    Parameters
    ----------
    features : float array, dims (image, channel)
        Mean token of each image.
    labels : int array, dims (image,)
        -1 = unlabelled; such images are left out.

    Raises
    ------
    InputError
        Fewer than two classes, or no class with two images.
    """
    problem, classes, numbers = _problem(features, labels)
    l2 = choose_l2(problem, stratified_folds(numbers, FOLDS, 0))
    return TokenProbe(problem.fit(l2=l2), classes)


def held_out_loss(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of every image under a head that has not seen it: float64 nats, dims (image,).

    NaN for unlabelled images and for the only image of a class. Parameters and errors as
    :func:`fit_probe`.
    """
    problem, _, numbers = _problem(features, labels)
    folds = stratified_folds(numbers, FOLDS, 0)
    l2 = choose_l2(problem, folds)
    loss = np.full(len(numbers), np.nan)
    for fold in range(folds.max() + 1):
        out = folds == fold
        head = problem.fit(l2=l2, weights=(~out).astype(float))
        loss[out] = problem.evaluate(head)[0][out]
    found = np.full(len(labels), np.nan)
    found[labels >= 0] = loss
    return found


def _problem(
    features: np.ndarray, labels: np.ndarray
) -> tuple[LogisticProblem, np.ndarray, np.ndarray]:
    """The training problem, the label of each class, and each labelled image's class."""
    known = labels >= 0
    classes, numbers = np.unique(labels[known], return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"found images of {len(classes)} classes; a probe needs at least two")
    rows = FeatureRows.of(features[known])
    return LogisticProblem(rows, numbers, len(classes), HEAD), classes, numbers
