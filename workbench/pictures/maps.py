"""The interface of token maps, stored or computed on the spot, and helpers for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from analyses.token_maps import Basis
from feature_store import InputError, Source


class Maps(Protocol):
    """Token maps of some images, and the photographs behind them."""

    sources: list[str]
    """Sources that have maps."""
    default: list[str]
    """Sources to show if none is named."""

    @property
    def image_ids(self) -> Sequence[str] | np.ndarray:
        """Id of each image, by row."""

    def parts(self, source: str) -> list[str]:
        """Full names of the source itself and, if it has several scales, each single scale."""

    def tokens(self, source: str, row: int) -> np.ndarray:
        """float32, dims (row, col, channel); NaN for an image that failed."""

    def basis(self, source: str) -> Basis:
        """The principal basis of the source over all images."""

    def photograph(self, row: int, source: str) -> np.ndarray | str:
        """RGB uint8 as the source's model saw the image, or why it cannot be shown."""


def find_image(image_ids: Sequence[str] | np.ndarray, text: str) -> int:
    """Row of an image: by its exact id, or else by its row number.

    Raises
    ------
    InputError
        The text is neither; the message gives an example id and the number of rows.

    Examples
    --------
    >>> find_image(["a", "0"], "0"), find_image(["a", "b"], "0")
    (1, 0)
    """
    ids = list(map(str, image_ids))
    if text in ids:
        return ids.index(text)
    if text.isdecimal() and int(text) < len(ids):
        return int(text)
    raise InputError(
        f"no image {text!r}; give an id such as {ids[0]!r}, or a row from 0 to {len(ids) - 1}"
    )


def with_parts(source: Source) -> list[str]:
    """A source, followed by its single scales if it has several."""
    singles = [str(single) for single in source.singles()]
    return [str(source), *singles] if len(singles) > 1 else singles


def matching(at: tuple[int, int], grid: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """Position on another grid over the same image: where the token's centre lies.

    >>> matching((1, 1), (2, 2), (7, 7)), matching((5, 5), (7, 7), (2, 2))
    ((5, 5), (1, 1))
    """
    row, col = (int((p + 0.5) / n * m) for p, n, m in zip(at, grid, other, strict=True))
    return row, col
