"""Laws of the loss of a vision-language model in encoder parameters N and image-text pairs D.

Every variant is E(N) + B D^(−β); they differ in E(N), the contribution of the encoder:

    pairs       E                        encoder size does not matter
    power       E + A N^(−α)             a larger encoder always pays, but less and less
    saturating  E + A exp(−N / N0)       a larger encoder pays up to a few N0
    turning     E + A N^(−α) + G N       a larger encoder pays up to an optimum and hurts beyond
    free        one E per encoder        no law in N at all: the reference for the others

N and D enter divided by their geometric means, so that units do not matter.

Source: the additive power law of Kaplan et al. 2020 and Hoffmann et al. 2022, which "Are Bigger
Encoders Always Better in Vision Large Models?" sets out to test.
"""

from __future__ import annotations

import numpy as np

from analyses.scaling_laws.separable import Array
from feature_store.errors import InputError

VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pairs": (("beta",), ("E", "B")),
    "power": (("alpha", "beta"), ("E", "A", "B")),
    "saturating": (("rate", "beta"), ("E", "A", "B")),
    "turning": (("alpha", "beta"), ("E", "A", "G", "B")),
    "free": (("beta",), ("B",)),  # and one E per encoder
}
"""Variant to (exponents, coefficients)."""

_BOUNDS = {"alpha": (0.01, 10.0), "beta": (0.01, 10.0), "rate": (0.01, 50.0)}


class EncoderBasis:
    """Columns of one variant at n runs.

    Parameters
    ----------
    params : array (n,)
        Encoder parameters N, positive.
    pairs : array (n,)
        Image-text pairs D, positive.
    variant : str
        Key of VARIANTS.
    """

    def __init__(self, params: Array, pairs: Array, variant: str) -> None:
        if variant not in VARIANTS:
            raise InputError(f"no variant {variant!r}; choose from: {', '.join(VARIANTS)}")
        self.variant = variant
        self.n_unit = float(np.exp(np.log(params).mean()))
        self.d_unit = float(np.exp(np.log(pairs).mean()))
        self.levels = np.unique(params)
        self.exponents, self.coefficients = VARIANTS[variant]
        if variant == "free":
            self.coefficients = (*(f"E_{level:g}" for level in self.levels), "B")
        bounds = np.log([_BOUNDS[name] for name in self.exponents])
        self.lower, self.upper = bounds[:, 0], bounds[:, 1]
        self._params, self._pairs = params, pairs

    def columns(self, theta: Array) -> Array:
        """φ at θ (P, m) at the runs: (P, n, k)."""
        return self.columns_at(theta, self._params, self._pairs)

    def columns_at(self, theta: Array, params: Array, pairs: Array) -> Array:
        """φ at θ (P, m) at any N and D, each (q,): (P, q, k)."""
        n, d = params / self.n_unit, pairs / self.d_unit
        size = (len(theta), len(n))
        data = np.exp(-np.exp(theta[:, -1:]) * np.log(d))
        one = np.ones(size)
        if self.variant == "pairs":
            return np.stack([one, data], axis=2)
        if self.variant == "free":
            return np.concatenate([self._indicators(params, len(theta)), data[..., None]], axis=2)
        first = np.exp(theta[:, :1])
        if self.variant == "saturating":
            return np.stack([one, np.exp(-first * n), data], axis=2)
        power = np.exp(-first * np.log(n))
        if self.variant == "power":
            return np.stack([one, power, data], axis=2)
        return np.stack([one, power, np.broadcast_to(n, size), data], axis=2)

    def slopes(self, theta: Array, weights: Array) -> Array:
        """Derivatives of the law by the logarithms of its exponents: (P, n, m)."""
        n, d = self._params / self.n_unit, self._pairs / self.d_unit
        beta = np.exp(theta[:, -1:])
        by_beta = -beta * np.log(d) * np.exp(-beta * np.log(d)) * weights[:, -1:]
        if len(self.exponents) == 1:
            return by_beta[..., None]
        first = np.exp(theta[:, :1])
        inner = n if self.variant == "saturating" else np.log(n)
        by_first = -first * inner * np.exp(-first * inner) * weights[:, 1:2]
        return np.stack([by_first, by_beta], axis=2)

    def in_units(self, theta: Array, weights: Array) -> dict[str, Array]:
        """Parameters by name, each (P,), for N and D as given; `rate` becomes `N0`."""
        values = {name: np.exp(theta[:, i]) for i, name in enumerate(self.exponents)}
        values |= {name: weights[:, j] for j, name in enumerate(self.coefficients)}
        values["B"] = values["B"] * self.d_unit ** values["beta"]
        if "alpha" in values:
            values["A"] = values["A"] * self.n_unit ** values["alpha"]
        if "G" in values:
            values["G"] = values["G"] / self.n_unit
        if "rate" in values:
            values["N0"] = self.n_unit / values.pop("rate")
        return values

    def _indicators(self, params: Array, problems: int) -> Array:
        unknown = np.setdiff1d(params, self.levels)
        if len(unknown):
            raise InputError(
                f"the free law has no level for an encoder of {unknown[0]:g} parameters; it has "
                f"{', '.join(f'{level:g}' for level in self.levels)}; choose a law in N instead"
            )
        hot = (params[:, None] == self.levels[None, :]).astype(float)
        return np.broadcast_to(hot, (problems, *hot.shape))
