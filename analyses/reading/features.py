"""The interface through which analyses read features, stored or computed on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from feature_store import FeatureStore, InputError, Source


class Batch(Protocol):
    """Tokens of some images."""

    @property
    def index(self) -> np.ndarray:
        """Row numbers in the split: int64, dims (image,)."""

    @property
    def tokens(self) -> dict[str, Any]:
        """Source to an array or torch tensor, dims (image, row, col, channel)."""


class Described(Protocol):
    """A single-scale source."""

    @property
    def identity(self) -> str:
        """Hash of all that determines its values."""

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the token map."""


class Stream(Protocol):
    """The reading side of a store where a running model computes the features."""

    dataset: str
    path: str
    image_ids: np.ndarray

    @property
    def status(self) -> np.ndarray:
        """(image,) str: ``ok`` for readable images."""

    @property
    def fingerprints(self) -> np.ndarray:
        """uint64, dims (image,): of the decoded pixels, 0 where they cannot be read.

        Images that no pass has read yet are decoded.
        """

    def resolve(self, source: str | Source, /) -> Source:
        """The source with its tap filled in, once every scale is known to be available."""

    def source(self, source: str | Source, /) -> Described:
        """A single-scale source."""

    def stream(
        self, sources: Sequence[str], /, *, done: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Batches in row order; rows that `done` marks (bool, dims (image,)) may be left out."""


Features = FeatureStore | Stream
"""Sources of features that analyses can read in one pass over the images."""


def singles(features: Features, source: str) -> list[str]:
    """Full names of the single-scale sources that a source is made of, in channel order.

    Raises
    ------
    StoreError
        Not stored.
    """
    return [str(single) for single in features.resolve(source).singles()]


def require_maps(store: FeatureStore, source: str) -> None:
    """Refuse a source of which only some token positions are stored.

    Raises
    ------
    InputError
        Says how many positions are kept of how many.
    """
    for single in store.resolve(source).singles():
        stored = store.source(single)
        if stored.kept:
            rows, cols = stored.grid
            raise InputError(
                f"{single} keeps {stored.kept} of {rows * cols} token positions per image; a map "
                f"needs all of them: extract it without --tokens-per-image"
            )
