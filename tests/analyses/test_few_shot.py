"""Few-shot ridge equals scikit-learn's on the same draw; draws are stratified, seeded, shared."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from analyses import few_shot
from analyses.few_shot import FewShotConfig, draws, ridge_heads
from feature_store import InputError

RNG = np.random.default_rng(0)
SOURCE = "toy:a#blocks@224"


def scores(head, queries):
    return queries @ head.weight + head.bias


@pytest.mark.parametrize(("images", "channels"), [(12, 30), (40, 5)])
def test_equals_scikit_learn_ridge(images, channels):
    x = RNG.normal(size=(images, channels)) + 3
    labels = np.arange(images) % 3
    queries = RNG.normal(size=(7, channels)) + 3
    ridges = [1e-3, 1.0, 100.0]
    gram_trace = ((x - x.mean(0)) ** 2).sum()
    for head, ridge in zip(ridge_heads(x, labels, ridges), ridges, strict=True):
        oracle = Ridge(alpha=ridge * gram_trace / images).fit(x, np.eye(3)[labels])
        np.testing.assert_allclose(scores(head, queries), oracle.predict(queries), atol=1e-8)


def test_scores_are_invariant_to_rotation_and_offset():
    x, queries = RNG.normal(size=(9, 6)), RNG.normal(size=(4, 6))
    labels = np.arange(9) % 3
    turn, _ = np.linalg.qr(RNG.normal(size=(6, 6)))
    [plain] = ridge_heads(x, labels, [0.1])
    [turned] = ridge_heads(x @ turn + 5, labels, [0.1])
    found = scores(turned, queries @ turn + 5)
    np.testing.assert_allclose(scores(plain, queries), found, atol=1e-10)


@pytest.mark.parametrize("channels", [3, 8])
def test_equal_rows_give_class_frequencies(channels):
    [head] = ridge_heads(np.ones((4, channels)), np.array([0, 0, 0, 1]), [1.0])
    np.testing.assert_allclose(scores(head, np.ones((2, channels))), [[0.75, 0.25]] * 2)
    assert (head.weight == 0).all()


def test_draws_are_stratified_seeded_and_disjoint_from_validation():
    labels = np.arange(60) % 3
    config = FewShotConfig(repeats=4, validation=10)
    first, second = draws(labels, 5, config), draws(labels, 5, config)
    for (rows, held), (again, _) in zip(first, second, strict=True):
        assert np.bincount(labels[rows]).tolist() == [5, 5, 5]
        assert not set(rows) & set(held)
        assert len(held) == 10
        np.testing.assert_array_equal(rows, again)
    assert not np.array_equal(first[0][0], first[1][0])


def make_pair(make_store, separation):
    pair = []
    for name, count in (("train", 90), ("test", 60)):
        labels = np.arange(count) % 3
        tokens = (
            RNG.normal(size=(count, 1, 1, 8)) + separation * np.eye(3, 8)[labels][:, None, None]
        )
        store = make_store(
            name, {SOURCE: tokens.astype(np.float32)}, labels=labels, label_names=["a", "b", "c"]
        )
        pair.append(store)
    return pair


def test_separable_classes_and_more_shots_help(make_store):
    table = few_shot.compute(
        *make_pair(make_store, 2.5),
        sources=[SOURCE],
        config=FewShotConfig(shots=(1, 20), repeats=8),
    )
    assert table["shots"].tolist() == [1, 20]
    one, twenty = table["test_accuracy"]
    assert 0.5 < one < twenty
    assert twenty > 0.85
    assert (table["low"] <= table["test_accuracy"]).all()


def test_draws_resample_draws_and_test_images():
    """Against the variances of the two means: hits are independent here in both directions."""
    hits = np.random.default_rng(0).random((300, 40)) < np.linspace(0.2, 0.9, 40)
    config = FewShotConfig(repeats=40)
    found = np.array(few_shot._resampled(hits, np.arange(300), 300, config))
    of_draws, of_images = hits.mean(0).var() / 40, hits.mean(1).var() / 300
    assert found.mean() == pytest.approx(hits.mean(), abs=0.005)
    assert found.var() == pytest.approx(of_draws + of_images, rel=0.15)


def test_sources_with_equal_features_have_equal_draws(make_store):
    pair = []
    for name, count in (("train", 90), ("test", 60)):
        labels = np.arange(count) % 3
        array = RNG.normal(size=(count, 1, 1, 8)) + np.eye(3, 8)[labels][:, None, None]
        arrays = {SOURCE: array, "toy:b#blocks@224": array}
        pair.append(make_store(name, arrays, labels=labels, label_names=["a", "b", "c"]))
    config = FewShotConfig(shots=(1, 5), repeats=4, resamples=50)
    sources = [SOURCE, "toy:b#blocks@224"]
    table = few_shot.compute(*pair, sources=sources, config=config)
    for shots in (1, 5):
        first, second = (table.attrs["resampled"][shots][source] for source in sources)
        assert first == second
        mean = table.query(f"shots == {shots}")["test_accuracy"].iloc[0]
        assert np.mean(first) == pytest.approx(mean, abs=0.05)


def test_no_signal_stays_at_chance(make_store):
    table = few_shot.compute(
        *make_pair(make_store, 0), sources=[SOURCE], config=FewShotConfig(shots=(5,), repeats=20)
    )
    assert table["test_accuracy"][0] == pytest.approx(1 / 3, abs=0.08)


def test_a_class_that_training_lacks_is_named(make_store):
    train, test = make_pair(make_store, 2.5)
    names = ["a", "b", "cat"]
    other = make_store(
        "other", {SOURCE: test.features(SOURCE).values}, labels=test.labels, label_names=names
    )
    half = make_store(
        "half",
        {SOURCE: train.features(SOURCE).values},
        labels=train.labels % 2,
        label_names=["a", "b"],
    )
    table = few_shot.compute(half, other, sources=[SOURCE], config=FewShotConfig(shots=(5,)))
    assert table.attrs["unseen_classes"] == {"cat": 20}


def test_refusals(make_store):
    pair = make_pair(make_store, 1)
    with pytest.raises(InputError, match="has 30 training images, fewer than 31 shots"):
        few_shot.compute(*pair, sources=[SOURCE], config=FewShotConfig(shots=(31,)))
    with pytest.raises(InputError, match="leave none to choose"):
        few_shot.compute(*pair, sources=[SOURCE], config=FewShotConfig(shots=(30,)))
    with pytest.raises(InputError, match="expected positive numbers"):
        FewShotConfig(shots=())
    with pytest.raises(InputError, match="repeats is 1; expected at least 2"):
        FewShotConfig(repeats=1)
    with pytest.raises(InputError, match="resamples is 0"):
        FewShotConfig(resamples=0)
