"""Maps from moments against lstsq, scikit-learn and refitting fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit

from analyses.linear import from_moments
from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import MomentsConfig, fold_of
from feature_store.errors import InputError

X, Y = "x#t@1", "y#t@1"


def moments_of(x, y, **config):
    """Moments of (image, channel) arrays with one token per image."""
    acc = Accumulator({X: x.shape[1], Y: y.shape[1]}, MomentsConfig(**config))
    acc.update({X: x[:, None, None], Y: y[:, None, None]}, np.arange(len(x)))
    return acc.result()


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 12)) * np.logspace(0, 2, 12) + 50
    y = 0.1 * x @ rng.standard_normal((12, 7)) + rng.standard_normal((400, 7)) - 3
    return x, y


def lstsq_loss(x, y):
    design = np.c_[np.ones(len(x)), x - x.mean(0)]
    return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).mean())


def test_zero_ridge_equals_lstsq(data):
    x, y = data
    fit = from_moments.solve(moments_of(x, y, precision="float64"), [X], [Y], 0)
    np.testing.assert_allclose(fit.residual.mean(), lstsq_loss(x, y), rtol=1e-9)
    prediction = fit.mean_y + (x - fit.mean_x) @ fit.weights
    np.testing.assert_allclose(((y - prediction) ** 2).mean(0), fit.residual, rtol=1e-9)
    assert fit.dof == 12


def test_float32_products_agree_with_float64_least_squares_on_badly_scaled_channels():
    rng = np.random.default_rng(3)
    scale = np.where(np.arange(64) % 16 == 0, 100.0, 1.0)
    x = (scale * (rng.standard_normal((20_000, 64)) + 10)).astype(np.float32)
    y = ((x - x.mean(0)) / scale @ rng.standard_normal((64, 32)) / 8).astype(np.float32)
    y += 5 + rng.standard_normal(y.shape).astype(np.float32)
    fit = from_moments.solve(moments_of(x, y), [X], [Y], 0)
    np.testing.assert_allclose(
        fit.residual.mean(), lstsq_loss(x.astype(float), y.astype(float)), rtol=1e-6
    )


@pytest.mark.parametrize("relative", [1e-4, 0.3, 10.0])
def test_ridge_equals_scikit_learn(data, relative):
    x, y = data
    fit = from_moments.solve(moments_of(x, y, precision="float64"), [X], [Y], relative)
    penalty = relative * len(x) * x.var(0).mean()
    model = Ridge(alpha=penalty).fit(x, y)
    np.testing.assert_allclose(fit.weights.T, model.coef_, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(((y - model.predict(x)) ** 2).mean(0), fit.residual, rtol=1e-9)
    eigenvalues = np.linalg.eigvalsh(len(x) * np.cov(x.T, ddof=0))
    np.testing.assert_allclose(fit.dof, (eigenvalues / (eigenvalues + penalty)).sum(), rtol=1e-9)


def test_cross_validation_equals_refitting_each_fold(data):
    x, y = data
    # Least held-out loss in the middle of the path: y has noise, x has weak channels.
    moments = moments_of(x, y, precision="float64")
    path = from_moments.cross_validate(moments, [X], [Y], [1e-8, 1e-3, 1.0])
    fold, squares = fold_of(np.arange(len(x)), 5), np.zeros(3)
    for k in range(5):
        train, held = fold != k, fold == k
        for at, relative in enumerate(path.ridges):
            alpha = relative * train.sum() * x[train].var(0).mean()
            model = Ridge(alpha=alpha).fit(x[train], y[train])
            loss = ((y[held] - model.predict(x[held])) ** 2).mean()
            np.testing.assert_allclose(path.loss[k, at], loss, rtol=1e-8)
            squares[at] += loss * held.sum()
        assert path.tokens[k] == held.sum()
    assert path.best == path.ridges[np.argmin(squares)]


def test_chosen_ridge_is_that_of_scikit_learns_ridge_cv():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((300, 60))
    y = x @ rng.standard_normal((60, 3)) / 8 + 2 * rng.standard_normal((300, 3))
    relative = np.array([1e-3, 1e-2, 1e-1, 1.0, 10.0])
    path = from_moments.cross_validate(moments_of(x, y, precision="float64"), [X], [Y], relative)
    # One penalty for all folds there, one relative to each training part's variance here.
    alphas = relative * 0.8 * len(x) * x.var(0).mean()
    folds = PredefinedSplit(fold_of(np.arange(len(x)), 5))
    oracle = RidgeCV(alphas=alphas, cv=folds, scoring="neg_mean_squared_error").fit(x, y)
    assert path.best == relative[np.argmin(np.abs(alphas - oracle.alpha_))]


def test_cross_validation_prefers_more_ridge_where_there_is_less_signal():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((120, 40))
    noise = rng.standard_normal((120, 5))
    strong = moments_of(x, x[:, :5] * 10 + 0.01 * noise)
    nothing = moments_of(x, noise)
    assert from_moments.cross_validate(strong, [X], [Y]).best < 1e-3
    assert from_moments.cross_validate(nothing, [X], [Y]).best > 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_duplicated_and_constant_channels_do_not_blow_up(data, precision):
    x, y = data
    wide = np.concatenate([x, x, np.full((400, 2), 7.3), x[:, :3] - x[:, 3:6]], 1)
    plain = from_moments.solve(moments_of(x, y, precision=precision), [X], [Y], 0)
    fit = from_moments.solve(moments_of(wide, y, precision=precision), [X], [Y], 0)
    np.testing.assert_allclose(fit.residual, plain.residual, rtol=2e-5)
    assert fit.dof == 12
    assert np.abs(fit.weights).max() <= np.abs(plain.weights).max() * 1.01


def test_wide_rank_deficient_source_in_float32():
    """More channels than tokens: the rank is the number of tokens less one, and no more is used."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((60, 300)), rng.standard_normal((60, 4))
    fit = from_moments.solve(moments_of(x, y), [X], [Y], 0)
    assert fit.dof == 59
    assert np.abs(fit.weights).max() < 5


def test_source_of_constants_and_target_without_variance():
    x, y = np.ones((50, 3)), np.arange(50.0)[:, None]
    fit = from_moments.solve(moments_of(x, y), [X], [Y], 0)
    assert fit.dof == 0
    np.testing.assert_allclose(fit.residual, fit.variance)
    for relative in (0, 0.5):
        flat = from_moments.solve(moments_of(y, x), [X], [Y], relative)
        np.testing.assert_array_equal(flat.residual, 0)
        np.testing.assert_array_equal(flat.weights, 0)


def test_refusals(data):
    x, y = data
    with pytest.raises(InputError, match="ridge is -1"):
        from_moments.solve(moments_of(x, y), [X], [Y], -1)
    with pytest.raises(InputError, match="at least 2 folds, found 1"):
        from_moments.cross_validate(moments_of(x, y, folds=1), [X], [Y])


def test_ridge_of_rows_is_chosen_on_the_given_folds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 8)).astype(np.float32) + 5
    folds, ridges = np.arange(3000) % 3, [10.0**e for e in range(-6, 3)]

    def path(y):
        return from_moments.cross_validate(
            from_moments.of_rows(x, y[:, None], folds), ["x"], ["y"], ridges
        )

    assert path(x[:, 0] + 2.0).best == ridges[0]
    assert path(rng.normal(size=3000)).best >= 10
    found = path(x[:, 0].astype(float) ** 2)
    for at, relative in enumerate(ridges):  # blocks and other folds against each fold by itself
        for fold in range(3):
            rest, held = x[folds != fold].astype(float), x[folds == fold].astype(float)
            alpha = relative * len(rest) * rest.var(0).mean()
            model = Ridge(alpha=alpha).fit(rest, rest[:, 0] ** 2)
            loss = ((model.predict(held) - held[:, 0] ** 2) ** 2).mean()
            np.testing.assert_allclose(found.loss[fold, at], loss, rtol=1e-8)
