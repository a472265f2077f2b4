"""Similarity beyond chance: the same scores with the images of one side permuted.

Width and depth raise CKA, CCA, Procrustes similarity and mutual kNN of unrelated representations.
For a score s of two representations of the same images let s_1, ..., s_P be the scores with the
images of the second in random orders, and q the k-th smallest of them, k = ceil(0.95 (P + 1)). If
the representations are independent and the images exchangeable (no two frames of one film), every
rank of s among the P + 1 scores is equally likely, so that s exceeds q with probability 0.05 at
most, in any number of channels. The calibrated score is

    max(0, (s - q) / (1 - q)),

which is 0 for whatever chance explains and 1 for equal representations: 1 is the largest score of
all four measures. Where s exceeds q, q is also the k-th smallest of all P + 1 scores, which is the
paper's threshold. Images are permuted and not tokens, because tokens of one image depend on each
other; so all scores here are of mean tokens, whatever the samples of the other scores are.

Each pair is calibrated by itself. The largest of many pairs, such as all blocks of two models, is
inflated again by the choice: its null is the largest score of all pairs in one random order.

Source: Groeger, Wen, Brbic, "Revisiting the Platonic Representation Hypothesis: An Aristotelian
View", arXiv 2602.14486 (null calibration with s_max = 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analyses.statistics.nearest_neighbours import mutual_knn

MEASURES = ("cka", "cca", "procrustes", "mutual_knn")
"""Measures that are calibrated; ``procrustes`` as a similarity, 1 - distance / 2."""
LEVEL = 0.95
"""Which quantile of the null is the threshold q."""
RANK = 1e-6
"""Singular values below this share of the largest are rounding."""


@dataclass(frozen=True)
class Points:
    """Mean tokens of the chosen images, about their mean, and each image's neighbours.

    ``basis`` (image, direction) is orthonormal; basis * spread are the principal components.
    ``near`` (image, k) holds row numbers.
    """

    basis: np.ndarray
    spread: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, near: np.ndarray) -> Points:
        """From mean tokens, dims (image, channel)."""
        basis, spread, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        keep = spread > RANK * spread[0]
        return cls(basis[:, keep], spread[keep], near)


def calibrate(a: Points, b: Points, *, permutations: int, seed: int) -> dict[str, float]:
    """``null_M``, the threshold q, and ``calibrated_M`` for every measure M.

    NaN where q is 1: with no more images than channels, CCA is 1 for any two representations.
    """
    images = len(a.basis)
    rng = np.random.default_rng(seed)
    score = scores(a, b, np.arange(images))
    null = np.sort([scores(a, b, rng.permutation(images)) for _ in range(permutations)], axis=0)
    threshold = null[min(math.ceil(LEVEL * (permutations + 1)), permutations) - 1]
    room = np.where(threshold < 1 - 1e-9, 1 - threshold, np.nan)
    beyond = ((score - threshold) / room).clip(0, 1)
    return {
        **{f"null_{name}": float(q) for name, q in zip(MEASURES, threshold, strict=True)},
        **{f"calibrated_{name}": float(s) for name, s in zip(MEASURES, beyond, strict=True)},
    }


def scores(a: Points, b: Points, order: np.ndarray) -> np.ndarray:
    """The :data:`MEASURES` with image i of a beside image order[i] of b."""
    between = a.basis.T @ b.basis[order]
    cross = a.spread[:, None] * between * b.spread
    place = np.argsort(order)
    return np.array(
        [
            (cross**2).sum() / np.sqrt((a.spread**4).sum() * (b.spread**4).sum()),
            _singular_sum(between) / min(between.shape),
            _singular_sum(cross) / np.sqrt((a.spread**2).sum() * (b.spread**2).sum()),
            mutual_knn(a.near, place[b.near[order]]),
        ]
    )


def _singular_sum(matrix: np.ndarray) -> float:
    """Sum of singular values, from the smaller Gram matrix: four times as fast as the SVD."""
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float(np.sqrt(np.linalg.eigvalsh(small @ small.T).clip(0)).sum())
