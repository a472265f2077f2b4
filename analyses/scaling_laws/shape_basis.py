"""Equations (2) and (3) of "Getting ViT in Shape" as a separable basis.

    f(x, t) = Σ_k α_k x_k^(−a_k) + (Σ_k β_k x_k^(b_k) + ξ) t^(−c) + ε

for D shape dimensions; D = 1 is eq. (2). Values and compute enter divided by their geometric
means, so that the fit does not depend on units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyses.scaling_laws.separable import Array

# Box of every exponent. Published values lie between 0.2 and 3; an exponent outside the box is a
# constant (below) or a step (above) for any sweep of practical width.
EXPONENT_BOUNDS = (0.01, 10.0)


class ShapeBasis:
    """Columns x_k^(−a_k), x_k^(b_k) t^(−c), t^(−c) and 1 at n runs.

    Parameters
    ----------
    x : array (n, D)
        Values of the shape dimensions, positive.
    t : array (n,)
        Compute, positive.
    names : sequence of str
        Names of the D dimensions, appended to the names of their parameters; none for one.
    """

    def __init__(self, x: Array, t: Array, names: Sequence[str] = ("",)) -> None:
        self.x_unit = np.exp(np.log(x).mean(axis=0))
        self.t_unit = float(np.exp(np.log(t).mean()))
        self._log_x = np.log(x / self.x_unit)
        self._log_t = np.log(t / self.t_unit)
        d = self._log_x.shape[1]
        self._dims = d
        tags = [f"_{name}" if name else "" for name in names]
        self.exponents = (*(f"a{s}" for s in tags), *(f"b{s}" for s in tags), "c")
        self.coefficients = (*(f"alpha{s}" for s in tags), *(f"beta{s}" for s in tags))
        self.coefficients += ("xi", "epsilon")
        self.lower = np.full(2 * d + 1, np.log(EXPONENT_BOUNDS[0]))
        self.upper = np.full(2 * d + 1, np.log(EXPONENT_BOUNDS[1]))

    def _powers(self, theta: Array) -> tuple[Array, Array, Array]:
        """x^(−a) (P, n, D), x^b t^(−c) (P, n, D) and t^(−c) (P, n)."""
        d = self._dims
        a, b, c = np.exp(theta[:, :d]), np.exp(theta[:, d : 2 * d]), np.exp(theta[:, -1])
        size = np.exp(-a[:, None, :] * self._log_x)
        decay = -c[:, None] * self._log_t
        cost = np.exp(b[:, None, :] * self._log_x + decay[:, :, None])
        return size, cost, np.exp(decay)

    def columns(self, theta: Array) -> Array:
        """φ at θ (P, m): (P, n, 2D + 2)."""
        size, cost, decay = self._powers(theta)
        one = np.ones_like(decay)
        return np.concatenate([size, cost, decay[..., None], one[..., None]], axis=2)

    def slopes(self, theta: Array, weights: Array) -> Array:
        """Derivatives of the law by the logarithms of its exponents: (P, n, 2D + 1)."""
        d = self._dims
        size, cost, decay = self._powers(theta)
        size = size * weights[:, None, :d]
        cost = cost * weights[:, None, d : 2 * d]
        exponent = np.exp(theta)[:, None, :]
        by_a = -exponent[..., :d] * self._log_x * size
        by_b = exponent[..., d : 2 * d] * self._log_x * cost
        falling = cost.sum(axis=2) + weights[:, None, 2 * d] * decay
        by_c = -exponent[..., -1] * self._log_t * falling
        return np.concatenate([by_a, by_b, by_c[..., None]], axis=2)

    def in_units(self, theta: Array, weights: Array) -> tuple[Array, Array]:
        """Exponents (P, m) and coefficients (P, k) in the units of the table."""
        d = self._dims
        exponent = np.exp(theta)
        a, b, c = exponent[:, :d], exponent[:, d : 2 * d], exponent[:, -1:]
        scaled = weights.copy()
        scaled[:, :d] *= self.x_unit**a
        scaled[:, d : 2 * d] *= self.x_unit ** (-b) * self.t_unit**c
        scaled[:, 2 * d] *= self.t_unit ** c[:, 0]
        return exponent, scaled
