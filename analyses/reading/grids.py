"""Token grids: the common grid of several maps, and exact area pooling onto it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analyses.reading.features import Batch, Features


@dataclass(frozen=True)
class TokenBatch:
    """A batch; fields as in :class:`analyses.reading.features.Batch`."""

    index: np.ndarray
    tokens: dict[str, Any]


def common_grid(grids: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Fewest rows and fewest columns among the grids: the finest grid that invents no detail."""
    rows, cols = zip(*grids, strict=True)
    return min(rows), min(cols)


def area_weights(fine: int, coarse: int) -> np.ndarray:
    """Share of each fine cell in each coarse cell, float64, dims (coarse, fine); rows add to 1.

    Cells are intervals of equal length on [0, 1); a share is the overlap, so the mean of a map is
    unchanged.

    >>> area_weights(3, 2).round(3).tolist()
    [[0.667, 0.333, 0.0], [0.0, 0.333, 0.667]]
    """
    edges_fine = np.arange(fine + 1) / fine
    edges_coarse = np.arange(coarse + 1) / coarse
    low = np.maximum(edges_coarse[:-1, None], edges_fine[None, :-1])
    high = np.minimum(edges_coarse[1:, None], edges_fine[None, 1:])
    return np.clip(high - low, 0.0, None) * coarse


def average_to(tokens: Any, grid: tuple[int, int]) -> Any:
    """Area average of maps onto a coarser grid.

    Parameters
    ----------
    tokens : ndarray or torch.Tensor, dims (image, row, col, channel)
    grid : (rows, cols)

    Returns
    -------
    The same kind of array, float32, dims (image, row, col, channel); `tokens` itself where the
    grid is already the one asked for.
    """
    if tokens.shape[1:3] == tuple(grid):
        return tokens
    rows = area_weights(tokens.shape[1], grid[0]).astype(np.float32)
    cols = area_weights(tokens.shape[2], grid[1]).astype(np.float32)
    if isinstance(tokens, torch.Tensor):  # from a running model: stays on its device
        down, across = (torch.from_numpy(share).to(tokens.device) for share in (rows, cols))
        return torch.einsum("rh,nhwc,sw->nrsc", down, tokens.float(), across)
    return np.einsum("rh,nhwc,sw->nrsc", rows, tokens.astype(np.float32), cols, optimize=True)


def on_common_grid(batch: Batch, grid: tuple[int, int] | None = None) -> TokenBatch:
    """The batch with every map averaged onto one grid: by default the common one of all its maps.

    A `grid` of other maps may be coarser than these need.
    """
    grid = grid or common_grid(tokens.shape[1:3] for tokens in batch.tokens.values())
    return TokenBatch(batch.index, {n: average_to(t, grid) for n, t in batch.tokens.items()})


def grids_of(features: Features, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Single-scale source to the (rows, cols) of its token map."""
    return {name: features.source(name).grid for name in names}


def pooling_note(grids: Mapping[str, tuple[int, int]]) -> str | None:
    """One line on maps that are averaged to a common grid; None where all have it already.

    >>> pooling_note({"m:a#t@224": (7, 7), "m:b#t@260": (9, 9)})
    'token maps are averaged to 7 x 7: m:b#t@260 has 9 x 9'
    """
    grid = common_grid(grids.values())
    finer = [f"{name} has {rows} x {cols}" for name, (rows, cols) in grids.items()
             if (rows, cols) != grid]  # fmt: skip
    if not finer:
        return None
    return f"token maps are averaged to {grid[0]} x {grid[1]}: {', '.join(finer)}"
