"""Tokens and target maps of a store's images, read by row, and a survey of them for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from analyses.reading.labelled_tokens import TargetMaps, good_rows, token_maps, whole_maps
from analyses.reading.pooled import Merge
from feature_store import FeatureStore, InputError


@dataclass(frozen=True)
class TokenImages:
    """Token maps of one source, with the target maps of their images."""

    store: FeatureStore
    source: str
    merge: Merge
    maps: TargetMaps
    """One map per store row: int classes, -1 = ignored; or float metres, NaN = unknown."""

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and maps of the images in these store rows, dims (image,).

        Returns
        -------
        float32 tokens, dims (image, channel, row, col), and int64 or float32 maps, dims (image,
        pixel row, pixel col)
        """
        view = self.store.features(self.source, merge=self.merge)
        tokens = view.isel(image=rows).values.astype(np.float32)
        truth = np.stack([self.maps[row] for row in rows.tolist()])
        kind = np.int64 if np.issubdtype(truth.dtype, np.integer) else np.float32
        channels_first = np.ascontiguousarray(tokens.transpose(0, 3, 1, 2))
        return torch.from_numpy(channels_first), torch.from_numpy(truth.astype(kind))


@dataclass(frozen=True)
class Survey:
    """Properties of the training images that a decoder is built from."""

    mean: np.ndarray
    """(channel,) float64: mean of the tokens."""
    spread: np.ndarray
    """(channel,) float64: standard deviation of the tokens."""
    grid: tuple[int, int]
    """Sides of the token map."""
    pixels: tuple[int, ...]
    """Sides of the target maps."""
    largest: float
    """Largest class or depth."""
    rows: np.ndarray
    """(image,) int: store rows whose map holds a known pixel; the others cannot be trained on."""


def survey(images: TokenImages, count: Callable[[], object] = lambda: None) -> Survey:
    """Read every training image once, calling `count` after each.

    Raises
    ------
    InputError
        No known pixel, or maps of several sizes.
    """
    store, source, merge = images.store, images.source, images.merge
    grid, channels = whole_maps(store, source, merge)
    total, square, tokens_read = np.zeros(channels), np.zeros(channels), 0
    largest, rows, shapes = -np.inf, [], set()
    for row, tokens in token_maps(store, source, merge, good_rows(store, source)):
        flat = tokens.reshape(-1, channels).astype(np.float64)
        total, square = total + flat.sum(0), square + (flat**2).sum(0)
        tokens_read += len(flat)
        truth = images.maps[row]
        shapes.add(truth.shape)
        known = truth[np.isfinite(truth) & (truth >= 0)]
        if len(known):
            rows.append(row)
            largest = max(largest, float(known.max()))
        count()
    if not rows:
        raise InputError(f"the training maps of {store.path} hold no known pixel")
    if len(shapes) > 1:
        raise InputError(
            f"the training maps have several sizes, such as {sorted(shapes)[:2]}; decoders need "
            f"the maps of one transform, all of one size"
        )
    mean = total / tokens_read
    spread = np.sqrt(np.maximum(square / tokens_read - mean**2, 0))
    return Survey(mean, spread, grid, shapes.pop(), largest, np.array(rows))
