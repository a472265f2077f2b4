"""Shared nearest neighbours of two representations of the same images."""

from __future__ import annotations

import numpy as np

from analyses.statistics.nearest_neighbours import normalise, search_others
from feature_store.errors import InputError


def neighbour_rows(points: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the k most similar other images (cosine, exact): int64, dims (image, k).

    Raises
    ------
    InputError
        k is not between 1 and the images less one.
    """
    if not 1 <= k < len(points):
        raise InputError(f"k is {k}; expected 1 to {len(points) - 1} for {len(points)} images")
    return search_others(normalise(points), k).row


def mutual_knn(a: np.ndarray, b: np.ndarray) -> float:
    """Mean share of neighbours that two neighbour lists have in common, 0 to 1.

    Symmetric; 1 for equal lists; about k / (images - 1) for unrelated ones. Through
    :func:`neighbour_rows` it is unchanged by rotation and scale of either representation.

    Parameters
    ----------
    a, b : ndarray of int64, dims (image, k)

    Source: Huh et al. 2024, The Platonic representation hypothesis (without its outlier clipping).
    """
    return float((a[:, :, None] == b[:, None, :]).any(axis=2).mean())
