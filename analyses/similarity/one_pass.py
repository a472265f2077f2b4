"""One pass over the tokens for :mod:`analyses.similarity`, in this process or piece by piece."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import Moments, MomentsConfig, fold_of
from analyses.reading.partition import Engine, Piece, pieces, stream
from analyses.similarity.hsic import FourthOrder
from feature_store.errors import InputError

Shifts = tuple[dict[str, int], np.ndarray | None, np.ndarray | None]
"""Channels of each source, and what second and fourth moments are shifted by."""


class PassConfig(Protocol):
    """The options of :class:`analyses.similarity.SimilarityConfig` that a pass looks at."""

    @property
    def unit(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str: ...


@dataclass(frozen=True)
class Sums:
    """What one pass over the tokens leaves."""

    moments: Moments
    fourth: FourthOrder
    means: dict[str, np.ndarray]
    """Source to the mean tokens of the chosen images, dims (image, channel)."""

    def merge(self, other: Sums) -> Sums:
        """Sums of both sets of images, these first."""
        return Sums(
            self.moments.merge(other.moments),
            self.fourth.merge(other.fourth),
            {n: np.concatenate([points, other.means[n]]) for n, points in self.means.items()},
        )


class Pass:
    """Fed with batches; `like` is a pass over other images whose shifts are used."""

    def __init__(
        self,
        parts: dict[str, list[str]],
        images: int,
        config: PassConfig,
        piece: int = 0,
        like: Shifts | None = None,
    ) -> None:
        self.parts, self.images, self.config, self.piece = parts, images, config, piece
        self.means: dict[str, list[np.ndarray]] = {name: [] for name in parts}
        self.accumulator: Accumulator | None = None
        if like is not None:
            self._begin(*like)

    def _begin(
        self,
        blocks: dict[str, int],
        first: np.ndarray | None = None,
        second: np.ndarray | None = None,
    ) -> None:
        options = MomentsConfig(
            folds=1,
            precision=self.config.precision,
            device=self.config.device,
            piece_images=self.piece,
        )
        self.accumulator = Accumulator(blocks, options, first)
        self.fourth = FourthOrder(blocks, second)

    def feed(self, batch: Any) -> None:
        tokens = {
            name: np.concatenate([batch.tokens[s] for s in pieces], axis=3)
            for name, pieces in self.parts.items()
        }
        pooled = {n: t.mean(axis=(1, 2), dtype=np.float64) for n, t in tokens.items()}
        if self.config.unit == "image":
            tokens = {n: p[:, None, None] for n, p in pooled.items()}
        if self.accumulator is None:
            self._begin({name: t.shape[3] for name, t in tokens.items()})
        assert self.accumulator is not None
        self.accumulator.update(tokens, batch.index)
        self.fourth.update(tokens)
        chosen = fold_of(batch.index, max(self.images, 1)) < self.config.images
        for name, points in pooled.items():
            self.means[name].append(points[chosen])

    def shifts(self) -> Shifts:
        """Channels of each source, and what tokens are shifted by."""
        assert self.accumulator is not None
        return dict(self.accumulator.blocks), self.accumulator.shift, self.fourth.shift

    def sums(self) -> Sums:
        if self.accumulator is None:
            raise InputError(f"no images to compare {', '.join(self.parts)} on")
        none = {n: np.empty((0, c)) for n, c in self.accumulator.blocks.items()}
        means = {n: np.concatenate([none[n], *p]) for n, p in self.means.items()}
        return Sums(self.accumulator.result(), self.fourth, means)


def one_pass(found: Any, state: Pass) -> Sums:
    for batch in found:
        state.feed(batch)
    return state.sums()


def on_engine(engine: Engine, store: Any, used: list[str], state: Pass) -> Sums:
    """The same pass, piece by piece; shifts come from the first readable images."""
    work = pieces(store)
    for piece in work:
        for batch in itertools.islice(stream(piece, used), 1):
            state.feed(batch)
        if state.accumulator is not None:
            break
    else:
        return state.sums()  # says that there are no images
    make = partial(Pass, state.parts, state.images, state.config, state.piece, like=state.shifts())
    return engine.reduce(partial(_sums_of, used, make), Sums.merge, work)


def _sums_of(used: list[str], make: Callable[[], Pass], piece: Piece) -> Sums:
    return one_pass(stream(piece, used), make())
