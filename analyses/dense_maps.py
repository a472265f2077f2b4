"""Target maps against token grids: the pixels under a token, and tokens enlarged to pixels."""

from __future__ import annotations

import numpy as np
import torch

from feature_store import InputError

UNKNOWN = -1


def cells(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Pixels under each token: dims (image, row, col, pixel), for maps that the grid divides.

    Raises
    ------
    InputError
        Map sides that are not multiples of the grid's.
    """
    count, height, width = maps.shape
    if height % grid[0] or width % grid[1]:
        raise InputError(f"maps of {height} x {width} pixels do not divide into {grid} tokens")
    tall, wide = height // grid[0], width // grid[1]
    split = maps.reshape(count, grid[0], tall, grid[1], wide)
    return split.transpose(0, 1, 3, 2, 4).reshape(count, *grid, tall * wide)


def majority(maps: np.ndarray, grid: tuple[int, int], classes: int) -> np.ndarray:
    """Most frequent known class under each token, -1 where none is known."""
    under = cells(maps, grid)
    votes = np.stack([(under == c).sum(-1) for c in range(classes)], -1)
    return np.where(votes.sum(-1) > 0, votes.argmax(-1), UNKNOWN)


def enlarged(output: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear: float32, dims (row, col, value) to (pixel row, pixel col, value)."""
    maps = torch.from_numpy(np.ascontiguousarray(output.transpose(2, 0, 1)))[None]
    large = torch.nn.functional.interpolate(maps, shape, mode="bilinear", align_corners=False)
    return large[0].permute(1, 2, 0).numpy()
