"""Streaming second moments of the joint token vector of several sources, kept per image fold.

With z the joint vector of one token (the channels of every source side by side), one pass over the
tokens leaves, for each fold of images, the number of tokens, the mean of z and the scatter
sum (z - mean)(z - mean)^T. Every least-squares question between any two sets of sources, and every
similarity that is a function of covariances, is answered from these without the tokens. Memory
depends on channels and folds only: folds * D^2 * 8 bytes for D joint channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from feature_store.errors import InputError, require_at_least, require_choices


@dataclass(frozen=True, kw_only=True)
class MomentsConfig:
    """How moments are accumulated."""

    folds: int = 5
    """Groups of images for cross-validation; an image's fold is a hash of its row number."""
    precision: Literal["float32", "float64"] = "float32"
    """Type of the products within a block of tokens; sums are float64."""
    device: str = "cpu"
    """Torch device that holds the accumulators."""
    block_tokens: int = 4096
    """Tokens of one fold multiplied at a time."""
    targets: tuple[str, ...] = ()
    """Sources that are only ever reconstructed: of their own products only the diagonal is kept."""

    def __post_init__(self) -> None:
        require_at_least(self, folds=1, block_tokens=1)
        require_choices(self)


@dataclass(frozen=True)
class Moments:
    """Second moments of joint tokens, one set for each fold of images."""

    channels: dict[str, int]
    """Source to its number of channels, in the order in which they make up the joint vector (D
    channels in all)."""
    images: np.ndarray
    """int64, dims (fold,): number of images seen."""
    tokens: np.ndarray
    """int64, dims (fold,): number of tokens seen."""
    mean: np.ndarray
    """float64, dims (fold, D): mean token; zeros for an empty fold."""
    scatter: np.ndarray
    """float64, dims (fold, D, D): sum over tokens of the outer product of z - mean. NaN where it
    was not kept (:attr:`MomentsConfig.targets`)."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """Origin of the moments (JSON-able)."""

    @property
    def folds(self) -> list[int]:
        """Folds that hold at least one token."""
        return [int(k) for k in np.flatnonzero(self.tokens)]

    def columns(self, names: Sequence[str]) -> np.ndarray | slice:
        """Positions of the channels of the named sources in the joint vector, in the given order.

        Raises
        ------
        InputError
            A source that the moments do not hold, or none at all.
        """
        unknown = [name for name in names if name not in self.channels]
        if unknown or not names:
            raise InputError(
                f"moments hold no source {', '.join(unknown) or '(none named)'}; "
                f"they hold {', '.join(self.channels)}"
            )
        ends = np.cumsum(list(self.channels.values()))
        starts = dict(zip(self.channels, ends - list(self.channels.values()), strict=True))
        index = np.concatenate([starts[n] + np.arange(self.channels[n]) for n in names])
        if np.array_equal(index, np.arange(index[0], index[0] + len(index))):
            return slice(int(index[0]), int(index[-1]) + 1)  # a view, no copy
        return index

    def count(self, folds: Sequence[int] | None = None) -> int:
        """Tokens in the given folds (all by default)."""
        return int(self.tokens[self.folds if folds is None else list(folds)].sum())

    def mean_of(self, names: Sequence[str], folds: Sequence[int] | None = None) -> np.ndarray:
        """Mean token of the named sources over the given folds: dims (channel,)."""
        chosen = self.folds if folds is None else list(folds)
        weights = self.tokens[chosen] / max(self.count(chosen), 1)
        return weights @ self.mean[chosen][:, self.columns(names)]

    def comoment(
        self,
        a: Sequence[str],
        b: Sequence[str],
        folds: Sequence[int] | None = None,
        about: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Sum over tokens of (z_a - c_a)(z_b - c_b)^T: dims (channel of a, channel of b).

        `about` gives the centres (c_a, c_b); by default the means over the same folds. Divided by
        the number of tokens it is the covariance of a and b.
        """
        chosen = self.folds if folds is None else list(folds)
        rows, cols = self.columns(a), self.columns(b)
        if about is None:
            about = (self.mean_of(a, chosen), self.mean_of(b, chosen))
        total = np.zeros((len(about[0]), len(about[1])))
        for k in chosen:
            total += self._scatter(k, rows, cols)
        to_a = self.mean[chosen][:, rows] - about[0]
        to_b = self.mean[chosen][:, cols] - about[1]
        return total + (self.tokens[chosen, None] * to_a).T @ to_b

    def variance_sum(
        self,
        names: Sequence[str],
        folds: Sequence[int] | None = None,
        about: np.ndarray | None = None,
    ) -> np.ndarray:
        """Diagonal of ``comoment(names, names, folds, about)``, always kept: dims (channel,)."""
        chosen = self.folds if folds is None else list(folds)
        cols = self.columns(names)
        centre = self.mean_of(names, chosen) if about is None else about
        offset = self.mean[chosen][:, cols] - centre
        own = sum((np.diagonal(self.scatter[k])[cols] for k in chosen), np.zeros(len(centre)))
        return own + self.tokens[chosen] @ offset**2

    def combine(self, other: Moments) -> Moments:
        """Moments of the two sets of images together; associative and commutative.

        Raises
        ------
        InputError
            Different sources, channels or folds.
        """
        if self.channels != other.channels or len(self.tokens) != len(other.tokens):
            raise InputError(
                f"moments of {self.channels} in {len(self.tokens)} folds cannot be combined with "
                f"moments of {other.channels} in {len(other.tokens)} folds: make both alike"
            )
        tokens = self.tokens + other.tokens
        share = (other.tokens / np.maximum(tokens, 1))[:, None]
        step = other.mean - self.mean
        weight = np.sqrt(self.tokens * share[:, 0])[:, None] * step
        scatter = self.scatter + other.scatter
        for k, w in enumerate(weight):
            scatter[k] += np.outer(w, w)
        return Moments(
            dict(self.channels),
            self.images + other.images,
            tokens,
            self.mean + share * step,
            scatter,
            {**other.attrs, **self.attrs},
        )

    def _scatter(self, k: int, rows: np.ndarray | slice, cols: np.ndarray | slice) -> np.ndarray:
        both_slices = isinstance(rows, slice) and isinstance(cols, slice)
        part = self.scatter[k][rows, cols] if both_slices else self.scatter[k][rows][:, cols]
        if part.size and np.isnan(part[0, -1]):
            raise InputError(
                "moments were made with these sources as targets only, so their own products were "
                "not kept; make them again with targets=()"
            )
        return part


def fold_of(index: np.ndarray, folds: int) -> np.ndarray:
    """Fold of each row number: a fixed 64-bit mix, so that neighbouring rows fall apart.

    Depends on the row number alone, never on batch size or order (int64 in, int64 out).
    """
    x = index.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) % np.uint64(folds)).astype(np.int64)
