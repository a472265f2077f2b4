"""Non-negative variable projection against scipy, one problem at a time."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares, nnls

from analyses.scaling_laws.separable import best_of, descend, grid_starts, solve_coefficients
from analyses.scaling_laws.shape_basis import ShapeBasis


def test_coefficients_are_those_of_lawson_and_hanson():
    rng = np.random.default_rng(0)
    columns, y = rng.normal(size=(300, 12, 4)), rng.normal(size=(300, 12))
    expected = np.array([nnls(a, b)[0] for a, b in zip(columns, y, strict=True)])
    np.testing.assert_allclose(solve_coefficients(columns, y), expected, atol=1e-12)


def test_coefficients_of_a_singular_problem_still_reach_the_optimum():
    rng = np.random.default_rng(1)
    column = rng.uniform(1, 2, size=(1, 9, 1))
    columns = np.concatenate([column, column, np.ones((1, 9, 1))], axis=2)
    y = 2 * column[..., 0] + 3
    weights = solve_coefficients(columns, y)
    np.testing.assert_allclose(np.einsum("pnk,pk->pn", columns, weights), y, atol=1e-9)
    assert (weights >= 0).all()


def test_slopes_are_the_derivatives_of_the_law():
    rng = np.random.default_rng(2)
    basis = ShapeBasis(rng.uniform(1, 9, (10, 2)), rng.uniform(1, 5, 10), ("u", "v"))
    theta, weights = rng.normal(size=(3, 5)) * 0.3, rng.uniform(0.1, 1, size=(3, 6))
    slopes = basis.slopes(theta, weights)
    for m in range(5):
        step = np.zeros(5)
        step[m] = 1e-6
        rise = basis.columns(theta + step) - basis.columns(theta - step)
        numeric = np.einsum("pnk,pk->pn", rise, weights) / 2e-6
        np.testing.assert_allclose(slopes[..., m], numeric, rtol=1e-5, atol=1e-7)


def test_search_reaches_the_cost_of_a_direct_seven_parameter_fit():
    rng = np.random.default_rng(3)
    x, t = np.repeat([1.0, 2, 3, 5, 8], 4), np.tile([1.0, 2, 4, 8], 5)
    y = 2 * x**-1.1 + (0.3 * x**0.8 + 0.5) * t**-0.7 + 0.2 + 0.01 * rng.normal(size=20)
    basis = ShapeBasis(x[:, None], t)
    starts = grid_starts(basis, y, np.ones(20), 8)
    ours = best_of(descend(basis, np.tile(y, (8, 1)), starts, np.ones((8, 20))), 1)

    def residual(p):
        a, b, c, alpha, beta, xi, epsilon = np.exp(p)
        return alpha * x**-a + (beta * x**b + xi) * t**-c + epsilon - y

    start = np.log([1.1, 0.8, 0.7, 2, 0.3, 0.5, 0.2])
    assert ours.cost[0] <= least_squares(residual, start, xtol=1e-14).cost * (1 + 1e-6)
