"""Token maps as colours: one principal basis per source over the dataset, so maps compare.

With tokens z about their mean m and the three leading eigenvectors v of their covariance, a token's
colour is

    rgb[c] = clip((v_c . (z - m) - low_c) / (high_c - low_c), 0, 1)

where low and high are the 1 % and 99 % quantiles of the sampled tokens. Each eigenvector's largest
entry in magnitude is positive, so a picture does not change its colours from one run to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from analyses.token_maps.sample import sampled_shards
from feature_store import FeatureStore, InputError
from feature_store.errors import require_at_least

COLOURS = 3
RANGE = (0.01, 0.99)
"""Quantiles of the sampled tokens that become the darkest and the brightest of a colour."""
MANY = 1024
"""Channels up to which the eigenvectors of the covariance are computed; above, Lanczos' method."""


@dataclass(frozen=True, kw_only=True)
class BasisConfig:
    """Which tokens the basis is taken from."""

    tokens: int = 8192
    """Tokens sampled at most: enough for three directions of thousands of channels."""
    shards: int = 16
    """Shards that they are drawn from at most: bounds what is read of a large store."""
    seed: int = 0
    """Seed of the sample."""

    def __post_init__(self) -> None:
        require_at_least(self, tokens=1, shards=1)


@dataclass(frozen=True)
class Basis:
    """Three principal directions of a source's tokens, and the range that each spans."""

    mean: np.ndarray
    """float64, dims (channel,)."""
    components: np.ndarray
    """float64, dims (colour, channel): unit vectors in order of decreasing variance; zeros if the
    tokens span fewer directions."""
    low: np.ndarray
    """float64, dims (colour,): projections that become 0."""
    high: np.ndarray
    """float64, dims (colour,): projections that become 1."""
    share: np.ndarray
    """float64, dims (colour,): share of the sampled tokens' variance."""

    def project(self, tokens: np.ndarray) -> np.ndarray:
        """Coordinates of tokens: dims (..., channel) to (..., colour), float64."""
        return (np.asarray(tokens, np.float64) - self.mean) @ self.components.T

    def rgb(self, tokens: np.ndarray) -> np.ndarray:
        """Colours of tokens, 0 to 1: dims (..., channel) to (..., 3); NaN for an image that failed.

        A direction without variance is 0.5 everywhere.
        """
        span = self.high - self.low
        scaled = np.divide(
            self.project(tokens) - self.low,
            span,
            out=np.full((*np.shape(tokens)[:-1], COLOURS), 0.5),
            where=span > 0,
        )
        return np.clip(scaled, 0, 1)


def fit_basis(store: FeatureStore, source: str, config: BasisConfig | None = None) -> Basis:
    """The basis of a source over the images of a store.

    Tokens are drawn from seeded shards, and evenly from these, so the same store gives the same
    basis on any day.

    Raises
    ------
    StoreError
        The source is not stored, incomplete or damaged.
    InputError
        Every image failed.
    """
    config = config or BasisConfig()
    shards = sampled_shards(store, source, config.shards, config.seed)
    each = -(-config.tokens // len(shards))
    rng = np.random.default_rng(config.seed)
    parts = []
    for batch in store.stream([source], shards=shards):
        tokens = batch.tokens[source]
        tokens = tokens.reshape(-1, tokens.shape[-1])
        chosen = np.sort(rng.permutation(len(tokens))[:each])
        parts.append(tokens[chosen].astype(np.float32))
    if not parts:
        raise InputError(f"{store.path} holds no readable image for {source}")
    return basis_of_tokens(np.concatenate(parts))


def basis_of_tokens(tokens: np.ndarray) -> Basis:
    """The basis of sampled tokens, float array, dims (token, channel); at least one of them."""
    tokens = np.asarray(tokens, np.float64)
    count, channels = tokens.shape
    mean = tokens.mean(0)
    components, share = np.zeros((COLOURS, channels)), np.zeros(COLOURS)
    kept = min(COLOURS, count - 1, channels)
    if kept > 0 and np.ptp(tokens, axis=0).max() > 0:
        solver = "arpack" if min(count, channels) > MANY else "full"
        if solver == "full" and count > channels:
            solver = "covariance_eigh"
        found = PCA(kept, svd_solver=solver, random_state=0).fit(tokens)
        real = found.explained_variance_ratio_ > np.finfo(np.float32).eps
        components[:kept] = found.components_ * real[:, None]
        share[:kept] = found.explained_variance_ratio_ * real
    largest = np.abs(components).argmax(1)
    components *= np.where(components[np.arange(COLOURS), largest] < 0, -1.0, 1.0)[:, None]
    low, high = np.quantile((tokens - mean) @ components.T, RANGE, axis=0)
    return Basis(mean, components, low, high, share)
