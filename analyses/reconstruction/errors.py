"""Errors of fitted linear maps on unseen tokens, by image, cell and channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analyses.linear.from_moments import Solution
from analyses.moments.tensors import as_tensor
from analyses.reading.features import Batch


@dataclass(frozen=True)
class Errors:
    """Mean squared errors of several maps to one target, and of the constant training mean.

    The last entry on the source axis is the constant prediction: its errors give l0.
    """

    image: np.ndarray
    """float64, dims (source, image): mean over the tokens and channels of each image."""
    cell: np.ndarray
    """float64, dims (source, row, col): mean over images and channels."""
    channel: np.ndarray
    """float64, dims (source, channel): mean over tokens."""
    index: np.ndarray
    """int64, dims (image,): row numbers of the images."""

    def combine(self, other: Errors) -> Errors:
        """Errors on both sets of images together, these first; associative."""
        share = len(other.index) / max(len(self.index) + len(other.index), 1)
        return Errors(
            np.concatenate([self.image, other.image], axis=1),
            self.cell + share * (other.cell - self.cell),
            self.channel + share * (other.channel - self.channel),
            np.concatenate([self.index, other.index]),
        )

    @property
    def loss(self) -> np.ndarray:
        """Mean over tokens and channels: dims (source,)."""
        return self.image.mean(axis=1)


def measure(
    batches: Iterable[Batch],
    solutions: Sequence[Solution],
    target: Sequence[str],
    *,
    precision: str = "float32",
    device: str = "cpu",
) -> Errors | None:
    """Apply each map to every token and average its squared errors; None if there is no image.

    Parameters
    ----------
    solutions : sequence of Solution
        Maps to the same target.
    target : sequence of str
        Single-scale sources that make up the target.
    precision, device : str
        Type and torch device of the products. Sums are float64.
    """
    maps = [_Map(solution, getattr(torch, precision), device) for solution in solutions]
    mean_y = solutions[0].mean_y
    image: list[np.ndarray] = []
    index: list[np.ndarray] = []
    cell, channel, cells = 0.0, np.zeros((len(maps) + 1, len(mean_y))), (0, 0)
    for batch in batches:
        cells = batch.tokens[target[0]].shape[1:3]
        y = _centred(batch.tokens, target, mean_y, maps[0].weights)
        squares = [(y - m.predict(batch.tokens)).square_() for m in maps] + [y.square()]
        grids = [s.reshape(len(batch.index), -1, len(mean_y)) for s in squares]
        by_cell = torch.stack([g.mean(2, dtype=torch.float64) for g in grids]).cpu().numpy()
        image.append(by_cell.mean(axis=2))
        cell = cell + by_cell.sum(axis=1)
        channel += torch.stack([s.sum(0, dtype=torch.float64) for s in squares]).cpu().numpy()
        index.append(np.asarray(batch.index))
    if not image:
        return None
    images = sum(map(len, index))
    return Errors(
        np.concatenate(image, axis=1),
        np.reshape(cell / images, (len(maps) + 1, *cells)),
        channel / (images * cells[0] * cells[1]),
        np.concatenate(index),
    )


class _Map:
    """A solution on a device, at working precision."""

    def __init__(self, solution: Solution, dtype: torch.dtype, device: str) -> None:
        self.sources, self.mean_x = solution.sources, solution.mean_x
        self.weights = torch.from_numpy(solution.weights).to(device, dtype)

    def predict(self, tokens: Mapping[str, Any]) -> torch.Tensor:
        """Centred prediction: dims (token, channel)."""
        return _centred(tokens, self.sources, self.mean_x, self.weights) @ self.weights


def _centred(
    tokens: Mapping[str, Any], names: Sequence[str], mean: np.ndarray, like: torch.Tensor
) -> torch.Tensor:
    parts = [as_tensor(tokens[name]).to(like) for name in names]
    joint = torch.cat([part.reshape(-1, part.shape[3]) for part in parts], dim=1)
    return joint - torch.from_numpy(mean).to(like)
