"""Tokens of a dense probe, read shard by shard: training tokens drawn, test maps one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analyses.reading.features import require_maps
from analyses.reading.pooled import Merge
from analyses.reading.target_maps import cells
from feature_store import FeatureStore
from feature_store.subsample import positions


class TargetMaps(Protocol):
    """Target maps by store row; an array, or an object that reads them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> np.ndarray:
        """The map of a row: dims (row, col)."""


@dataclass(frozen=True)
class TrainingTokens:
    """Drawn tokens that have a target."""

    x: np.ndarray
    """float32, dims (token, channel)."""
    y: np.ndarray
    """float64, dims (token,)."""
    image: np.ndarray
    """int, dims (token,): running number of the image that a token belongs to."""
    images: int
    per_image: int
    """Tokens drawn of each image, those without a target included."""


def good_rows(store: FeatureStore, source: str) -> np.ndarray:
    """Rows whose image failed in no scale of the source.

    The store's own status describes only the source that was written last.
    """
    singles = store.resolve(source).singles()
    failed = {row for single in singles for row in store.source(single).failed_rows()}
    return np.delete(np.arange(len(store)), sorted(failed))


def draw(
    store: FeatureStore,
    source: str,
    maps: TargetMaps,
    target: Callable[[np.ndarray], np.ndarray],
    *,
    merge: Merge,
    limit: int,
    seed: int,
    count: Callable[[], object] = lambda: None,
) -> TrainingTokens:
    """At most `limit` tokens, equally many of each image; all of them if there are no more.

    Sources with the same grid get the same positions. With more images than `limit`, `limit`
    images give one token each.

    Parameters
    ----------
    target : callable
        Turns pixels under tokens, dims (token, pixel), into targets, dims (token,); NaN = none.
    merge : {"concat", "add"}
    count : callable
        Called after each image.
    """
    grid, channels = whole_maps(store, source, merge)
    rows = good_rows(store, source)
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    per_image = min(grid[0] * grid[1], limit // max(len(rows), 1))
    places = positions(store.image_ids[rows].tolist(), grid, per_image, seed)
    x = np.empty((places.size, channels), np.float32)
    y, image = np.empty(places.size), np.empty(places.size, np.int64)
    done = 0
    for n, (row, tokens) in enumerate(token_maps(store, source, merge, rows)):
        values = target(cells(maps[row], grid)[places[n]])
        known = ~np.isnan(values)
        part = slice(done, done := done + int(known.sum()))
        x[part] = tokens.reshape(-1, channels)[places[n][known]]
        y[part], image[part] = values[known], n
        count()
    return TrainingTokens(x[:done], y[:done], image[:done], len(rows), per_image)


def whole_maps(store: FeatureStore, source: str, merge: Merge) -> tuple[tuple[int, int], int]:
    """Grid and channels of a source whose scales fit together.

    Raises
    ------
    InputError
        Only some token positions are stored.
    """
    require_maps(store, source)
    view = store.features(source, merge=merge)
    return (view.sizes["row"], view.sizes["col"]), view.sizes["channel"]


def token_maps(
    store: FeatureStore, source: str, merge: Merge, rows: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Row number and token map of these rows: float32, dims (row, col, channel).

    Scales are merged image by image, so no more is in memory than what the store streams.
    """
    singles = [str(single) for single in store.resolve(source).singles()]
    wanted = np.zeros(len(store), bool)
    wanted[rows] = True
    for batch in store.stream(singles):
        for n in np.flatnonzero(wanted[batch.index]):
            parts = [batch.tokens[name][n].astype(np.float32) for name in singles]
            merged = np.concatenate(parts, -1) if merge == "concat" else np.sum(parts, 0)
            yield int(batch.index[n]), merged
