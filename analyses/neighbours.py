"""Shared nearest neighbours of two representations of the same images."""

from __future__ import annotations

import numpy as np

from feature_store.errors import InputError


def neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the k most similar other images (cosine), int64, dims (image, k).

    Exact (faiss flat index). An image without length is similar to none and gets arbitrary rows.

    Raises
    ------
    InputError
        k is not between 1 and the images less one.
    """
    if not 1 <= k < len(points):
        raise InputError(f"k is {k}; expected 1 to {len(points) - 1} for {len(points)} images")
    import faiss

    length = np.linalg.norm(points, axis=1, keepdims=True)
    unit = np.ascontiguousarray(points / np.where(length > 0, length, 1), np.float32)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    found = index.search(unit, k + 1)[1]
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True  # among duplicates an image may miss itself: drop the last
    return found[~own].reshape(len(found), k)


def mutual_knn(a: np.ndarray, b: np.ndarray) -> float:
    """Mean share of neighbours that two neighbour lists have in common, 0 to 1.

    Symmetric; 1 for equal lists; about k / (images - 1) for unrelated ones. Through
    :func:`neighbours` it is unchanged by rotation and scale of either representation.

    Parameters
    ----------
    a, b : ndarray of int64, dims (image, k)

    Source: Huh et al. 2024, The Platonic representation hypothesis (without its outlier clipping).
    """
    return float((a[:, :, None] == b[:, None, :]).any(axis=2).mean())
