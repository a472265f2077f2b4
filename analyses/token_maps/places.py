"""Where else a token is seen: in its own image as a map, in the whole store as a list of places.

Both compare by cosine, cos(a, b) = a . b / (|a| |b|); a token of length zero is like no other (0).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from analyses.moments.tensors import as_tensor
from analyses.reading.features import require_maps
from analyses.statistics.nearest_neighbours import Neighbours, normalise, search
from feature_store import FeatureStore, InputError

BLOCK_TOKENS = 2**16
"""Tokens compared at a time: 80 MB at 320 channels."""


@dataclass(frozen=True)
class Places:
    """Tokens of a store, the most similar first."""

    image: np.ndarray
    """int64, dims (place,): store row of the image."""
    row: np.ndarray
    """int64, dims (place,): row on the source's grid."""
    col: np.ndarray
    """int64, dims (place,): column on the source's grid."""
    similarity: np.ndarray
    """float32, dims (place,): cosine to the query."""


def similarity_map(tokens: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """Cosine of one token to every token of its map: dims (row, col, channel) to (row, col).

    NaN everywhere for an image that failed.

    Raises
    ------
    InputError
        The position is outside the grid.

    Examples
    --------
    >>> similarity_map(np.array([[[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]]), (0, 0)).round(2).tolist()
    [[1.0, 0.7099999785423279, 0.0]]
    """
    require_position(tokens.shape[:2], at)
    flat = normalise(tokens.reshape(-1, tokens.shape[-1]))
    found = flat @ flat[at[0] * tokens.shape[1] + at[1]]
    failed = np.isnan(tokens).any(-1)
    return np.where(failed, np.nan, found.reshape(tokens.shape[:2]))


def require_position(grid: tuple[int, ...], at: tuple[int, int]) -> None:
    """Refuse a position outside the grid.

    Raises
    ------
    InputError
        Gives the grid.
    """
    if not (0 <= at[0] < grid[0] and 0 <= at[1] < grid[1]):
        raise InputError(
            f"token {at[0]} {at[1]} is outside the {grid[0]} x {grid[1]} grid; rows are 0 to "
            f"{grid[0] - 1}, columns 0 to {grid[1] - 1}"
        )


def nearest(
    store: FeatureStore, source: str, query: np.ndarray, k: int, *, without: int | None = None
) -> Places:
    """The k tokens of a whole store that are most similar to one token; exact.

    Parameters
    ----------
    query : float array, dims (channel,)
        A token of the source.
    k : int
        Number of places; fewer if the store has fewer tokens.
    without : int, optional
        Store row of an image to leave out, as the query's own.

    Raises
    ------
    StoreError
        The source is not stored, incomplete or damaged.
    InputError
        k is not positive, or the source keeps only some token positions.
    """
    last = deque(places_so_far(store, source, query, k, without=without), maxlen=1)
    if last:
        return last.pop()
    none = np.empty(0, np.int64)
    return Places(none, none, none, np.empty(0, np.float32))


def places_so_far(
    store: FeatureStore, source: str, query: np.ndarray, k: int, *, without: int | None = None
) -> Iterator[Places]:
    """As :func:`nearest`, after every shard: the last answer is that of the whole store.

    At most three shards and one block of tokens are in memory.
    """
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1")
    require_maps(store, source)
    asked = normalise(np.asarray(query, np.float32)[None])
    best = Neighbours(np.empty((1, 0), np.float32), np.empty((1, 0), np.int64), k)
    for batch in store.stream([source]):
        tokens = batch.tokens[source]
        rows, cols = tokens.shape[1:3]
        flat = tokens.reshape(-1, tokens.shape[-1])
        number = (batch.index[:, None] * (rows * cols) + np.arange(rows * cols)).ravel()
        for start in range(0, len(flat), BLOCK_TOKENS):
            part = slice(start, start + BLOCK_TOKENS)
            best = best.merge(_among(flat[part], number[part], asked, k, without, rows * cols))
        image, cell = np.divmod(best.row[0], rows * cols)
        yield Places(image, cell // cols, cell % cols, best.similarity[0])


def _among(
    tokens: np.ndarray,
    number: np.ndarray,
    asked: np.ndarray,
    k: int,
    without: int | None,
    cells: int,
) -> Neighbours:
    if without is not None and len(number) and number[0] // cells <= without <= number[-1] // cells:
        keep = number // cells != without
        tokens, number = tokens[keep], number[keep]
    if not len(number):
        return Neighbours(np.empty((1, 0), np.float32), np.empty((1, 0), np.int64), k)
    found = search(_unit(tokens), asked, min(k, len(number)))
    return Neighbours(found.similarity, number[found.row], k)


def _unit(tokens: np.ndarray) -> np.ndarray:
    """As :func:`normalise`, by torch: numpy converts float16 one number at a time."""
    values = as_tensor(tokens).float()
    if tokens.dtype == np.float32:
        values = values.clone()  # the store's own memory
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return values.div_(length.clamp_min_(np.finfo(np.float32).tiny)).numpy()
