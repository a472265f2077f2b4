"""Is an image rare among its class? Its distance to the class against the class's own spread."""

from __future__ import annotations

import numpy as np

from analyses.statistics.nearest_neighbours import search, search_others


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
    """Mean cosine distance of each query to its class's k nearest rows, and the class's quantile.

    The quantile is over the class's rows, each measured against the others of its class. A class
    of one row has no such distances: its threshold is NaN and nothing of it is rare.

    Parameters
    ----------
    rows, queries : float32 array, dims (row, channel), (query, channel)
        Of unit length.
    labels, query_labels : int array, dims (row,), (query,)
        Every class of a query occurs among the rows.
    neighbours : int
        k; fewer where the class has fewer rows.
    quantile : float
        Of the class's own distances.
    device : str
        Where the search runs.

    Returns
    -------
    (distance, threshold) : float64 arrays, dims (query,)
    """
    distance = np.empty(len(queries))
    threshold = np.empty(len(queries))
    for label in np.unique(query_labels):
        own, asked = rows[labels == label], query_labels == label
        k = min(neighbours, len(own))
        distance[asked] = 1 - search(own, queries[asked], k, device=device).similarity.mean(1)
        threshold[asked] = np.nan
        if len(own) > 1:
            among = search_others(own, min(k, len(own) - 1), device=device)
            threshold[asked] = np.quantile(1 - among.similarity.mean(1), quantile)
    return distance, threshold
