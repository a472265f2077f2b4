"""A fixed random subset of token positions per image, for datasets too large to store fully.

Moments and reconstruction need tokens of many images rather than all tokens of each. Positions
depend only on image id, grid and seed, so all models with the same grid keep the same positions.
They are stored, so readers never draw them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from feature_store.errors import InputError

SEED = 0
"""Seed of the draw; part of the manifest."""


def positions(
    image_ids: Sequence[str], grid: tuple[int, int], tokens: int, seed: int = SEED
) -> np.ndarray:
    """Positions to keep: (image, token) int32, each ``row * cols + col``, ascending per image.

    `grid` is (rows, cols) of the whole map; an image's `tokens` positions differ from each other.

    Raises
    ------
    InputError
        More tokens than the grid has positions, or fewer than one.

    Examples
    --------
    >>> positions(["a", "b"], (7, 7), 3).shape
    (2, 3)
    """
    available = grid[0] * grid[1]
    if not 1 <= tokens <= available:
        raise InputError(
            f"cannot keep {tokens} tokens per image of a {grid[0]}x{grid[1]} map; choose 1 to "
            f"{available}"
        )
    drawn = np.empty((len(image_ids), tokens), np.int32)
    for place, image_id in enumerate(image_ids):
        digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        drawn[place] = np.sort(rng.permutation(available)[:tokens])
    return drawn


def keep(maps: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Tokens at the chosen positions: (n, row, col, channel), (n, token) → (n, token, channel)."""
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    return np.take_along_axis(flat, chosen[:, :, None].astype(np.int64), axis=1)
