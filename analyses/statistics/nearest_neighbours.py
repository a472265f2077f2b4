"""Exact nearest neighbours by cosine similarity, with faiss if it is installed.

faiss and torch each bring an OpenMP runtime. On Linux the wheels of both name it `libgomp` and
share it; on macOS two runtimes in one process abort. faiss is therefore imported late, with torch's
number of threads, and on macOS torch searches instead.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from feature_store import InputError

QUERY_BLOCK = 1024
"""Queries that are compared with all rows at a time where faiss is absent."""


@dataclass(frozen=True)
class Neighbours:
    """The k most similar rows of each query."""

    similarity: np.ndarray
    """float32, dims (query, k): cosine, descending."""
    row: np.ndarray
    """int64, dims (query, k): row of the searched matrix."""
    limit: int = 0
    """Neighbours left after a merge; 0 if nothing is merged."""

    def merge(self, other: Neighbours) -> Neighbours:
        """The nearest of two sets of rows, ties by row number; associative.

        >>> near = [Neighbours(np.array([[s]], np.float32), np.array([[r]]), 1) for s, r in
        ...         ((0.5, 7), (0.9, 3))]
        >>> near[0].merge(near[1]).row.tolist()
        [[3]]
        """
        similarity = np.concatenate([self.similarity, other.similarity], axis=1)
        row = np.concatenate([self.row, other.row], axis=1)
        best = np.lexsort((row, -similarity))[:, : self.limit]
        take = np.take_along_axis
        return Neighbours(take(similarity, best, 1), take(row, best, 1), self.limit)


def normalise(x: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Rows minus `mean`, scaled to length 1; zero rows stay zero. float32, dims as given.

    Examples
    --------
    >>> normalise(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = np.asarray(x, np.float32) if mean is None else (x - mean).astype(np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


def search(rows: np.ndarray, queries: np.ndarray, k: int, *, device: str = "cpu") -> Neighbours:
    """Exact k nearest rows of every query.

    Parameters
    ----------
    rows, queries : float32 array, dims (row, channel), (query, channel)
        Rows of unit length (see :func:`normalise`).
    k : int
        Number of neighbours, at most the number of rows.
    device : str
        ``cuda`` searches on the GPU, with faiss if it was built for GPUs, else with torch.

    Raises
    ------
    InputError
        k out of range, or different numbers of channels.
    """
    if not 1 <= k <= len(rows):
        raise InputError(f"k is {k}; expected 1 to {len(rows)}, the number of rows searched")
    if rows.shape[1] != queries.shape[1]:
        raise InputError(f"rows have {rows.shape[1]} channels and queries {queries.shape[1]}")
    faiss = None if sys.platform == "darwin" else _faiss()
    if faiss is None or (device != "cpu" and not hasattr(faiss, "StandardGpuResources")):
        return _by_torch(rows, queries, k, device)
    faiss.omp_set_num_threads(torch.get_num_threads())
    rows, queries = (np.ascontiguousarray(x, np.float32) for x in (rows, queries))
    if device == "cpu":  # without an index, which would copy the rows
        return Neighbours(*faiss.knn(queries, rows, k, metric=faiss.METRIC_INNER_PRODUCT))
    index = faiss.IndexFlatIP(rows.shape[1])
    index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(rows)
    return Neighbours(*index.search(queries, k))


def search_others(rows: np.ndarray, k: int, *, device: str = "cpu") -> Neighbours:
    """The k nearest *other* rows of every row.

    The row itself is removed by its number, not by its rank: an exact copy of a row is a neighbour
    like any other.
    """
    found = search(rows, rows, k + 1, device=device)
    own = found.row == np.arange(len(rows))[:, None]
    own[~own.any(1), -1] = True  # copies took the row's place: drop the last one instead
    shape = (len(rows), k)
    return Neighbours(found.similarity[~own].reshape(shape), found.row[~own].reshape(shape))


def near_duplicates(
    train: np.ndarray, test: np.ndarray, *, threshold: float = 0.98, device: str = "cpu"
) -> pd.DataFrame:
    """Test images that are nearly a training image: ``test_row``, ``train_row``, ``similarity``.

    Parameters
    ----------
    train, test : float32 array, dims (image, channel)
        Normalised features.
    threshold : float
        Smallest cosine that is reported.
    """
    found = search(train, test, 1, device=device)
    close = np.flatnonzero(found.similarity[:, 0] >= threshold)
    table = pd.DataFrame(
        {
            "test_row": close,
            "train_row": found.row[close, 0],
            "similarity": found.similarity[close, 0],
        }
    )
    return table.sort_values("similarity", ascending=False, ignore_index=True)


def label_error_candidates(
    features: np.ndarray, labels: np.ndarray, *, k: int = 10, device: str = "cpu"
) -> pd.DataFrame:
    """Images most of whose neighbours agree on another label: ``row``, ``suggested``, ``share``.

    Parameters
    ----------
    features : float32 array, dims (image, channel)
        Normalised.
    labels : int array, dims (image,)
        0 to classes - 1.
    k : int
        Neighbours that vote; an image is reported if more than half vote for one other label.
    """
    k = min(k, len(features) - 1)
    votes = labels[search_others(features, k, device=device).row]
    share = np.stack([(votes == c).mean(1) for c in range(labels.max() + 1)], 1)
    suggested = share.argmax(1)
    top = share.max(1)
    suspect = np.flatnonzero((suggested != labels) & (top > 0.5))
    table = pd.DataFrame({"row": suspect, "suggested": suggested[suspect], "share": top[suspect]})
    return table.sort_values("share", ascending=False, ignore_index=True)


def class_distances(
    rows: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    *,
    neighbours: int = 5,
    quantile: float = 0.95,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Is a query rare in its class? Its distance to the class, and the class's own threshold.

    Both are float64, dims (query,). The distance is the mean cosine distance to the k nearest rows
    of the query's class. The threshold is a quantile of the distances of the class's rows to the
    others of the class; it is NaN for a class of one row, in which nothing is rare.

    Parameters
    ----------
    rows, queries : float32 array, dims (row, channel), (query, channel)
        Rows of unit length.
    labels, query_labels : int array, dims (row,), (query,)
        Every class of a query occurs among the rows.
    neighbours : int
        k, or the number of rows of the class if that is smaller.
    quantile : float
        Quantile of the class's own distances.
    device : str
        Torch device of the search.
    """
    distance = np.empty(len(queries))
    threshold = np.empty(len(queries))
    for label in np.unique(query_labels):
        own, of_class = rows[labels == label], query_labels == label
        k = min(neighbours, len(own))
        distance[of_class] = 1 - search(own, queries[of_class], k, device=device).similarity.mean(1)
        threshold[of_class] = np.nan
        if len(own) > 1:
            among = search_others(own, min(k, len(own) - 1), device=device)
            threshold[of_class] = np.quantile(1 - among.similarity.mean(1), quantile)
    return distance, threshold


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

    Lists are int64, dims (image, k).

    Source: Huh et al. 2024, The Platonic representation hypothesis (without its outlier clipping).
    """
    return float((a[:, :, None] == b[:, None, :]).any(axis=2).mean())


def _faiss():
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def _by_torch(rows: np.ndarray, queries: np.ndarray, k: int, device: str) -> Neighbours:
    base = torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(device)
    parts = [
        torch.topk(block.to(device) @ base.T, k)
        for block in torch.from_numpy(np.array(queries, np.float32)).split(QUERY_BLOCK)
    ]
    return Neighbours(
        torch.cat([p.values for p in parts]).cpu().numpy(),
        torch.cat([p.indices for p in parts]).cpu().numpy(),
    )
