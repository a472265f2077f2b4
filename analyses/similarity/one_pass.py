"""One pass over the tokens for :mod:`analyses.similarity`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import Moments, MomentsConfig, fold_of
from analyses.reading import passes
from analyses.reading.engine import Engine
from analyses.reading.features import Batch, Features
from analyses.reading.passes import Reading
from analyses.similarity.config import SimilarityConfig
from analyses.similarity.hsic import FourthOrder
from feature_store.errors import InputError

Shifts = tuple[np.ndarray, np.ndarray | None]
"""What tokens are shifted by for second and for fourth moments: dims (D,)."""


@dataclass(frozen=True)
class Sums:
    """Results of one pass over the tokens."""

    moments: Moments
    fourth: FourthOrder
    means: dict[str, np.ndarray]
    """Source to the mean tokens of the chosen images, dims (image, channel)."""

    def combine(self, other: Sums) -> Sums:
        """Sums of both sets of images, these first."""
        return Sums(
            self.moments.combine(other.moments),
            self.fourth.combine(other.fourth),
            {n: np.concatenate([points, other.means[n]]) for n, points in self.means.items()},
        )


def one_pass(
    features: Features,
    parts: dict[str, list[str]],
    config: SimilarityConfig,
    engine: Engine | None,
) -> Sums:
    """Sums over all images; `parts` maps sources to the single-scale sources they are made of.

    Raises
    ------
    InputError
        No readable image.
    """
    used = list(dict.fromkeys(single for singles in parts.values() for single in singles))
    grid = "pool" if config.unit == "token" else "same"
    reading = Reading(used, grid, label="similarity" if config.progress else "")
    empty = partial(_Running, parts, len(features.image_ids), config)
    shifts: Shifts | None = None
    few = passes.first_images(features, reading)
    if few is not None:
        start = empty()
        start.add(few)
        shifts = start.shifts()
    step = partial(_sums, empty, shifts)
    found = passes.reduce(features, reading, step, Sums.combine, engine=engine)
    if found is None:
        raise InputError(f"no images to compare {', '.join(parts)} on")
    return found


def _sums(
    empty: Callable[[Shifts | None], _Running], shifts: Shifts | None, batches: Iterable[Batch]
) -> Sums | None:
    running = empty(shifts)
    for batch in batches:
        running.add(batch)
    return running.sums()


class _Running:
    """Sums of the batches added so far; of `total` images, some are chosen for their means."""

    def __init__(
        self,
        parts: dict[str, list[str]],
        total: int,
        config: SimilarityConfig,
        shifts: Shifts | None = None,
    ) -> None:
        self._parts, self._total, self._config = parts, total, config
        self._first = shifts[0] if shifts else None
        self._second = shifts[1] if shifts else None
        self._means: dict[str, list[np.ndarray]] = {name: [] for name in parts}
        self._accumulator: Accumulator | None = None

    def add(self, batch: Batch) -> None:
        tokens = {
            name: np.concatenate([batch.tokens[s] for s in singles], axis=3)
            for name, singles in self._parts.items()
        }
        pooled = {n: t.mean(axis=(1, 2), dtype=np.float64) for n, t in tokens.items()}
        if self._config.unit == "image":
            tokens = {n: p[:, None, None] for n, p in pooled.items()}
        if self._accumulator is None:
            options = MomentsConfig(
                folds=1, precision=self._config.precision, device=self._config.device
            )
            channels = {name: t.shape[3] for name, t in tokens.items()}
            self._accumulator = Accumulator(channels, options, self._first)
            self._fourth = FourthOrder(channels, self._second)
        self._accumulator.update(tokens, batch.index)
        self._fourth.update(tokens)
        chosen = fold_of(batch.index, max(self._total, 1)) < self._config.images
        for name, points in pooled.items():
            self._means[name].append(points[chosen])

    def shifts(self) -> Shifts:
        """Shift of the tokens, to share with sums over other images."""
        assert self._accumulator is not None
        return self._accumulator.shift, self._fourth.shift

    def sums(self) -> Sums | None:
        """None before the first batch."""
        if self._accumulator is None:
            return None
        means = {name: np.concatenate(points) for name, points in self._means.items()}
        return Sums(self._accumulator.result(), self._fourth, means)
