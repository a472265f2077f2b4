"""The converged head equals scikit-learn's, in memory and streamed, whatever the conditioning."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from analyses.linear.head import loss_and_hits
from analyses.linear.logistic import SCIPY_BLAS, HeadConfig, LogisticProblem, threads_for
from analyses.reading.pooled import FeatureRows
from feature_store import InputError


def correlated(images=300, channels=12, classes=4, seed=0):
    """Features with a condition number of about 1e4 and a large mean; Gumbel-noise labels."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(channels, channels)) * np.logspace(0, -2, channels)
    x = (rng.normal(size=(images, channels)) @ mix + 20).astype(np.float32)
    planted = (x - 20) @ rng.normal(size=(channels, classes))
    return x, (planted + rng.gumbel(size=planted.shape)).argmax(1)


def penalised(head, x, labels, l2, weights=None):
    """The objective, written from its definition with numpy in float64."""
    loss, _ = loss_and_hits(x.astype(float) @ head.weight + head.bias, labels)
    standard = head.weight * x.std(0, dtype=float)[:, None]
    return np.average(loss, weights=weights) + l2 / 2 * (standard**2).sum()


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("memory_mb", [256, 0])
def test_equals_scikit_learn(l2, memory_mb):
    x, labels = correlated()
    standard = (x - x.mean(0, dtype=float)) / x.std(0, dtype=float)
    oracle = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-9, max_iter=10_000)
    oracle.fit(standard, labels)
    problem = LogisticProblem(FeatureRows.of(x), labels, 4, HeadConfig(memory_mb=memory_mb))
    head = problem.fit(l2=l2, tolerance=1e-8)
    assert head.converged
    np.testing.assert_allclose(head.weight.T * x.std(0, dtype=float), oracle.coef_, atol=2e-4)
    logits = head.logits(problem.rows)
    for evaluated in (problem.evaluate(head), head.evaluate(problem.rows, labels)):
        for found, expected in zip(evaluated, loss_and_hits(logits, labels), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True),
        oracle.decision_function(standard) - oracle.decision_function(standard).mean(1)[:, None],
        atol=1e-3,
    )


def test_two_points_have_a_closed_form():
    # By symmetry the weights are (-d/2, d/2); the derivative of the objective is zero where
    # sigmoid(-d) = l2 * d / 2.
    l2 = 0.3
    d = brentq(lambda d: l2 * d / 2 - 1 / (1 + np.exp(d)), 0, 50)
    head = LogisticProblem(FeatureRows.of(np.array([[-1.0], [1.0]])), np.array([0, 1]), 2).fit(
        l2=l2
    )
    assert head.weight[0, 1] - head.weight[0, 0] == pytest.approx(d, abs=1e-5)


def test_start_and_scale_of_a_channel_do_not_change_the_optimum():
    x, labels = correlated()
    problem = LogisticProblem(FeatureRows.of(x), labels, 4, HeadConfig(tolerance=1e-7))
    cold = problem.fit(l2=1e-2)
    warm = problem.fit(l2=1e-2, start=problem.fit(l2=1e-3))
    again = problem.fit(l2=1e-2, start=cold)
    assert again.passes < cold.passes / 3
    np.testing.assert_allclose(warm.weight, cold.weight, atol=1e-3)
    scaled = x * np.logspace(-3, 3, x.shape[1], dtype=np.float32)
    other = LogisticProblem(FeatureRows.of(scaled), labels, 4).fit(l2=1e-2)
    assert penalised(other, scaled, labels, 1e-2) == pytest.approx(
        penalised(cold, x, labels, 1e-2), abs=1e-6
    )


def test_zero_weight_leaves_a_row_out():
    x, labels = correlated()
    weights = np.ones(len(x))
    weights[200:] = 0
    poisoned = labels.copy()
    poisoned[200:] = 0
    clean, dirty = (
        LogisticProblem(FeatureRows.of(x), y, 4).fit(l2=1e-2, weights=weights)
        for y in (labels, poisoned)
    )
    np.testing.assert_allclose(clean.weight, dirty.weight, atol=1e-12)


def test_separable_data_is_fitted_to_vanishing_loss():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    x = 0.1 * rng.normal(size=(60, 5)) + 4 * np.eye(5)[labels]
    problem = LogisticProblem(FeatureRows.of(x), labels, 3)
    losses = []
    for l2 in (1e-2, 1e-4, 1e-6):
        loss, hits = problem.evaluate(problem.fit(l2=l2))
        assert hits.all()
        losses.append(loss.mean())
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < 1e-4


def test_constant_channel_gets_no_weight():
    x, labels = correlated()
    x[:, 3] = 7
    head = LogisticProblem(FeatureRows.of(x), labels, 4).fit(l2=1e-2)
    assert (head.weight[3] == 0).all()
    assert np.isfinite(head.weight).all()


def test_float32_reaches_the_same_loss():
    x, labels = correlated()
    heads = [
        LogisticProblem(FeatureRows.of(x), labels, 4, HeadConfig(precision=p, tolerance=1e-5)).fit(
            l2=1e-2
        )
        for p in ("float32", "float64")
    ]
    single, double = (penalised(head, x, labels, 1e-2) for head in heads)
    assert single == pytest.approx(double, abs=1e-5)


def test_unknown_class_is_a_miss_with_infinite_loss():
    loss, hits = loss_and_hits(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([-1, 0]))
    assert loss.tolist() == [np.inf, pytest.approx(np.log(2))]
    assert hits.tolist() == [False, True]


def test_refusals():
    x, labels = correlated()
    problem = LogisticProblem(FeatureRows.of(x), labels, 4)
    with pytest.raises(InputError, match="needs a positive penalty"):
        problem.fit(l2=0)
    with pytest.raises(InputError, match="choose float32 or float64"):
        HeadConfig(precision="float16")
    with pytest.raises(InputError, match="tolerance.* 0"):
        HeadConfig(tolerance=0)


def test_products_of_vectors_get_one_thread_and_the_number_before_comes_back():
    def threads():
        return {lib["num_threads"] for lib in threadpool_info() if lib["prefix"] == SCIPY_BLAS}

    before = threads()
    with threads_for(1e9):
        assert threads() == {1}
    assert threads() == before
