"""The shape law of "Getting ViT in Shape": how one dimension of a network should grow.

Claim: a network whose dimension is x, trained with compute t, reaches the metric (lower is better)

    f(x, t) = α x^(−a) + (β x^b + ξ) t^(−c) + ε                                     eq. (2)

with all seven parameters positive. For fixed t it is quasi-convex in x, with a single minimum at

    x*(t) = (α a t^c / (β b))^(1/(a+b)) = O(t^s),   s = c/(a + b)                     eq. (4)

where f(x*, t) = F x*^(−a) + ξ t^(−c) + ε with F = α (1 + a/b)                        eq. (5).

Source: section 3 and appendix A; where the text version of A.2 reads t^a, t^c is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyses.scaling_laws.separable import Array

PARAMETERS = ("a", "b", "c", "alpha", "beta", "xi", "epsilon")


@dataclass(frozen=True, kw_only=True)
class ShapeLaw:
    """Eq. (2) with its parameters; x and t in the units they were fitted in."""

    a: float
    """Exponent of the bottleneck term."""
    b: float
    """Exponent of the cost of size."""
    c: float
    """Exponent of compute."""
    alpha: float
    """Coefficient of the bottleneck term."""
    beta: float
    """Coefficient of the cost of size."""
    xi: float
    """Coefficient of compute alone."""
    epsilon: float
    """Metric in the limit of large size and compute."""

    @property
    def s(self) -> float:
        """Scaling exponent c/(a + b) of the optimal dimension."""
        return self.c / (self.a + self.b)

    def metric(self, x: Array | float, t: Array | float) -> Array:
        """f(x, t), eq. (2), broadcast over x and t."""
        x, t = np.asarray(x, float), np.asarray(t, float)
        cost = (self.beta * x**self.b + self.xi) * t ** (-self.c)
        return self.alpha * x ** (-self.a) + cost + self.epsilon

    def optimum(self, t: Array | float) -> Array:
        """x*(t), eq. (4); infinite where β = 0 and zero where α = 0."""
        with np.errstate(divide="ignore"):
            ratio = np.divide(self.alpha * self.a, self.beta * self.b)
        return (ratio * np.asarray(t, float) ** self.c) ** (1 / (self.a + self.b))
