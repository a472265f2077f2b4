"""Kernels on arrays against scikit-learn and refitting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from analyses.linear.ridge import (
    held_out_losses,
    penalty_of,
    solve_least_squares,
    solve_ridge,
    solve_rows,
)


def centred(rows, x_channels, y_channels, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, x_channels)) * np.linspace(0.1, 3, x_channels)
    y = x @ rng.standard_normal((x_channels, y_channels)) + rng.standard_normal((rows, y_channels))
    return x - x.mean(0), y - y.mean(0)


@pytest.mark.parametrize(("rows", "channels"), [(12, 30), (40, 5)])
def test_all_ways_give_scikit_learns_weights(rows, channels):
    x, y = centred(rows, channels, 3)
    ridges = [1e-3, 1.0, 100.0]
    for ridge, path in zip(ridges, solve_rows(x, y, ridges), strict=True):
        alpha = ridge * np.trace(x.T @ x) / channels
        assert penalty_of(x.T @ x, ridge) == pytest.approx(alpha)
        oracle = Ridge(alpha=alpha, fit_intercept=False).fit(x, y).coef_.T
        weights, dof = solve_ridge(x.T @ x, x.T @ y, ridge)
        np.testing.assert_allclose(path, oracle, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(weights, oracle, rtol=1e-8, atol=1e-10)
        eigenvalues = np.linalg.eigvalsh(x.T @ x).clip(0)
        assert dof == pytest.approx((eigenvalues / (eigenvalues + alpha)).sum())


def test_held_out_losses_equal_predicting_the_held_out_rows():
    x, y = centred(60, 8, 3)
    a, b = centred(20, 8, 3, seed=1)
    a, b = a + 0.5, b - 2  # held-out rows have other means
    ridges = [1e-6, 0.1, 10.0]
    losses = held_out_losses((x.T @ x, x.T @ y), (a.T @ a, a.T @ b, (b**2).sum()), ridges)
    expected = [((b - a @ weights) ** 2).sum() for weights in solve_rows(x, y, ridges)]
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


def test_least_squares_is_the_pseudo_inverse_of_the_scaled_channels():
    x, y = centred(50, 6, 2)
    twice = np.concatenate([x, 7 * x, np.zeros((50, 1))], axis=1)
    varies = np.arange(13) < 12
    weights, rank = solve_least_squares(twice.T @ twice, twice.T @ y, varies)
    unit = twice[:, :12] / twice[:, :12].std(0)
    expected = np.linalg.pinv(unit) @ y / twice[:, :12].std(0)[:, None]
    np.testing.assert_allclose(weights[:12], expected, atol=1e-9)
    assert (weights[12] == 0).all()
    assert rank == 6


@pytest.mark.parametrize("channels", [3, 8])
def test_no_variance_gives_no_weight(channels):
    x, y = np.zeros((4, channels)), np.ones((4, 2))
    assert (solve_rows(x, y, [1.0]) == 0).all()
    assert (solve_ridge(x.T @ x, x.T @ y, 1.0)[0] == 0).all()
