"""The streaming passes of the analyses, piece by piece on an engine.

Each gives what its counterpart for one process gives, up to the order in which float64 sums are
added; the order depends on the store alone, so any number of workers gives the same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from analyses.linear.from_moments import Solution
from analyses.moments.accumulate import Accumulator, accumulated
from analyses.moments.second_moments import Moments, MomentsConfig
from analyses.reading.batches import undone
from analyses.reading.partition import Engine, Piece, piece_images, pieces, stream
from analyses.reading.pooled import Pooling, vectors
from analyses.reconstruction import errors as held_out
from analyses.statistics import nearest_neighbours
from analyses.statistics.nearest_neighbours import Neighbours
from feature_store import FeatureStore
from feature_store.errors import InputError

Part = TypeVar("Part")


def moments(
    engine: Engine,
    store: FeatureStore,
    sources: Sequence[str],
    config: MomentsConfig | None = None,
    *,
    grid: str = "same",
    done: np.ndarray | None = None,
) -> Moments:
    """Moments of the named single-scale sources, as :func:`~.accumulate.from_batches`.

    For equal products the configuration of the latter needs ``piece_images`` of the store.

    Parameters
    ----------
    engine : Engine
    store : FeatureStore
    sources : sequence of str
    config : MomentsConfig, optional
    grid : {"same", "pool"}
        Whether maps are pooled to their common grid.
    done : ndarray of bool, dims (image,), optional
        Rows that are left out, because earlier moments cover them.
    """
    config = replace(config or MomentsConfig(), piece_images=piece_images(store))
    work = pieces(store)
    for piece in work:  # what tokens are shifted by comes from the first readable images
        first = accumulated(itertools.islice(stream(piece, sources, grid), 1), sources, config)
        if first is not None:
            step = partial(_moments_of, first.blocks, config, first.shift, grid, done)
            return engine.reduce(step, Moments.merge, work)
    raise InputError(f"no images to accumulate for {', '.join(sources)}")


def _moments_of(
    blocks: Mapping[str, int],
    config: MomentsConfig,
    shift: np.ndarray,
    grid: str,
    done: np.ndarray | None,
    piece: Piece,
) -> Moments:
    accumulator = Accumulator(blocks, config, shift)
    for batch in stream(piece, list(blocks), grid):
        accumulator.update(*undone(batch, list(blocks), done))
    return accumulator.result()


def errors(
    engine: Engine,
    store: FeatureStore,
    sources: Sequence[str],
    solutions: Sequence[Solution],
    target: Sequence[str],
    *,
    grid: str = "same",
    precision: str = "float32",
    device: str = "cpu",
) -> held_out.Errors:
    """Errors of fitted maps on a store's images, as :func:`~.errors.measure`."""
    options = {"precision": precision, "device": device}
    step = partial(_errors_of, list(sources), list(solutions), list(target), grid, options)
    found = engine.reduce(step, partial(_either, held_out.Errors.merge), pieces(store))
    if found is None:
        raise InputError("no images to measure the reconstruction on")
    return found


def _errors_of(
    sources: list[str],
    solutions: list[Solution],
    target: list[str],
    grid: str,
    options: dict[str, Any],
    piece: Piece,
) -> held_out.Errors | None:
    return held_out.measured(stream(piece, sources, grid), solutions, target, **options)


def search(
    engine: Engine,
    store: FeatureStore,
    source: str,
    queries: np.ndarray,
    k: int,
    *,
    mean: np.ndarray,
    among: np.ndarray,
    pooling: Pooling = "mean",
) -> Neighbours:
    """The k images of a store nearest to each query, as :func:`~.nearest_neighbours.search`.

    Every worker pools and searches its own pieces; only their best k travel.

    Parameters
    ----------
    engine : Engine
    store : FeatureStore
    source : str
    queries : float32 array, dims (query, channel)
        Normalised about `mean`.
    k : int
        At most the number of images searched.
    mean : float array, dims (channel,)
        Taken from the pooled vectors before they are scaled to unit length.
    among : bool array, dims (image,)
        Rows of the store that are searched.
    pooling : {"mean", "prefix"}

    Returns
    -------
    Neighbours
        ``row`` counts rows of the store.
    """
    step = partial(_neighbours_of, source, queries, k, mean, among, pooling)
    return engine.reduce(step, Neighbours.merge, pieces(store))


def _neighbours_of(
    source: str,
    queries: np.ndarray,
    k: int,
    mean: np.ndarray,
    among: np.ndarray,
    pooling: Pooling,
    piece: Piece,
) -> Neighbours:
    store = piece.open()
    singles = [str(single) for single in store.resolve(source).singles()]
    rows, parts = vectors(store, singles, pooling, shards=piece.shards)
    joint = np.concatenate([parts[name] for name in singles], axis=1)[among[rows]]
    rows = rows[among[rows]]
    if not len(rows):
        nothing = (len(queries), 0)
        return Neighbours(np.empty(nothing, np.float32), np.empty(nothing, np.int64), k)
    found = nearest_neighbours.search(
        nearest_neighbours.normalise(joint, mean), queries, min(k, len(rows))
    )
    return Neighbours(found.similarity, rows[found.row], k)


def _either(
    merge: Callable[[Part, Part], Part], first: Part | None, second: Part | None
) -> Part | None:
    """Merged, where a piece without readable images gives nothing."""
    if first is None or second is None:
        return second if first is None else first
    return merge(first, second)
