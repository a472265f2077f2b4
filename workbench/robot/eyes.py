"""Reduce the features of a frame to one vector: prefix tokens, mean, attention, or whole map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from feature_store import FeatureStore
from feature_store.errors import InputError
from workbench.robot.config import PolicyConfig

QUERIES, REDUCED = 8, 32
"""Vectors that attention extracts from a map; channels to which a whole map is reduced."""
BLOCK = 256
"""Frames read together."""


@dataclass(frozen=True)
class Sight:
    """Visual input of a policy, and its distribution over the training frames."""

    pooling: str
    """As in the config, but never ``auto``."""
    shape: tuple[int, ...]
    """Shape of a frame's features: (token, channel)."""
    mean: np.ndarray
    """float64, dims (channel,)."""
    spread: np.ndarray
    """float64, dims (channel,): standard deviation."""


def resolved_pooling(store: FeatureStore, source: str, config: PolicyConfig) -> str:
    """The pooling of the config, with ``auto`` resolved for a source.

    Raises
    ------
    InputError
        The pooling is ``prefix`` and the model has no prefix tokens.
    """
    singles = store.resolve(source).singles()
    prefixes = all("prefix" in store.source(single).arrays for single in singles)
    if config.pooling == "prefix" and not prefixes:
        raise InputError(
            f"{source} has no prefix token (class token) for --pooling prefix; choose mean, "
            f"attention or map"
        )
    return ("prefix" if prefixes else "map") if config.pooling == "auto" else config.pooling


def read_features(store: FeatureStore, source: str, pooling: str, rows: np.ndarray) -> np.ndarray:
    """Features of some rows: float32, dims (row, token, channel); ``mean`` has one token."""
    if pooling == "prefix":
        return store.prefix(source).isel(image=rows).values.astype(np.float32)
    found = store.features(source).isel(image=rows).values.astype(np.float32)
    return as_tokens(found, pooling)


def as_tokens(maps: np.ndarray, pooling: str) -> np.ndarray:
    """Maps, dims (frame, row, col, channel), to (frame, token, channel)."""
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    return flat.mean(1, keepdims=True) if pooling == "mean" else flat


def survey(store: FeatureStore, source: str, config: PolicyConfig, rows: np.ndarray) -> Sight:
    """Measure the distribution of the training frames, whose rows are given, in one pass."""
    pooling = resolved_pooling(store, source, config)
    total = square = np.zeros(())
    count, shape = 0, (0, 0)
    for start in range(0, len(rows), BLOCK):
        block = read_features(store, source, pooling, rows[start : start + BLOCK])
        shape = block.shape[1:]
        flat = block.reshape(-1, shape[-1]).astype(np.float64)
        total, square, count = total + flat.sum(0), square + (flat**2).sum(0), count + len(flat)
    mean = total / count
    return Sight(pooling, shape, mean, np.sqrt(np.maximum(square / count - mean**2, 0)))


class Eyes(nn.Module):
    """Reduces the features of a frame to a vector.

    Parameters
    ----------
    width : int
        Channels of the vector.
    norm : bool
        Normalise each token with a trained layer norm instead of the spread of the training frames.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, sight: Sight, width: int, *, norm: bool = False) -> None:
        super().__init__()
        tokens, channels = sight.shape
        scale = np.where(sight.spread > 0, 1 / np.maximum(sight.spread, 1e-30), 0.0)
        self.register_buffer("mean", torch.as_tensor(sight.mean, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))
        self.norm = nn.LayerNorm(channels) if norm else None
        self.body: nn.Module
        if sight.pooling == "attention":
            self.body = _Attention(tokens, channels, width)
        elif sight.pooling == "map":
            self.body = nn.Sequential(
                nn.Linear(channels, REDUCED), nn.GELU(), nn.Flatten(-2),
                nn.Linear(tokens * REDUCED, width),
            )  # fmt: skip
        else:
            self.body = nn.Sequential(nn.Flatten(-2), nn.Linear(tokens * channels, width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Dims (..., token, channel) to (..., width)."""
        if self.norm is not None:
            return self.body(self.norm(features))
        return self.body((features - self.mean) * self.scale)


class _Attention(nn.Module):
    """Learned queries, each a weighted average of the map's tokens with position embeddings."""

    def __init__(self, tokens: int, channels: int, width: int) -> None:
        super().__init__()
        self.token = nn.Linear(channels, width)
        self.place = nn.Parameter(torch.zeros(tokens, width))
        nn.init.normal_(self.place, std=0.5)
        self.query = nn.Parameter(torch.randn(QUERIES, width) / math.sqrt(width))
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width // 2)
        self.out = nn.Linear(QUERIES * (width // 2), width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        seen = nn.functional.gelu(self.token(tokens)) + self.place
        weights = (self.key(seen) @ self.query.T).softmax(-2)
        return self.out((weights.transpose(-1, -2) @ self.value(seen)).flatten(-2))
