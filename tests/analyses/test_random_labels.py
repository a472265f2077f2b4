"""Capacity for random labels against Cover's count and its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import random_labels
from analyses.random_labels import RandomLabelConfig, capacity, fitted_accuracy
from feature_store import InputError

RNG = np.random.default_rng(0)
SOURCE = "toy:a#b@224"


@pytest.mark.parametrize("channels", [10, 30])
def test_gaussian_capacity_is_near_covers(channels):
    x = RNG.normal(size=(200, channels)).astype(np.float32)
    found, censored, tried = capacity(x, RandomLabelConfig(repeats=5))
    assert not censored
    assert all((accuracy >= 0.99) == (count <= found) for count, accuracy in tried.items())
    # Cover: half of the dichotomies of 2 (d + 1) points are separable; at 99 % of hits on average
    # over draws a logistic head stays somewhat below.
    assert 0.7 <= found / (2 * (channels + 1)) <= 1.1


def test_fewer_points_than_dimensions_are_always_fitted():
    x = RNG.normal(size=(11, 10)).astype(np.float32)
    assert fitted_accuracy(x, 11, RandomLabelConfig()) == 1
    assert capacity(x, RandomLabelConfig()) == (11, True, {11: 1.0})


def test_capacity_does_not_change_under_invertible_maps():
    x = RNG.normal(size=(120, 12)).astype(np.float32)
    turn = RNG.normal(size=(12, 12)) * np.logspace(0, -2, 12)
    turned = (x @ turn + 5).astype(np.float32)
    config = RandomLabelConfig(repeats=2)
    assert abs(capacity(x, config)[0] - capacity(turned, config)[0]) <= 1


def test_features_on_a_line_hold_hardly_any_label(make_store):
    x = np.outer(RNG.normal(size=60), np.ones(8)).astype(np.float32)
    store = make_store("line", {SOURCE: x[:, None, None]})
    row = random_labels.compute(store, sources=[SOURCE]).iloc[0]
    assert row["capacity"] < 8  # one dimension: 2 (1 + 1) points, whatever the channels say
    assert row["cover"] == 18
    assert row["counts"][-1] == 60
    assert row["accuracies"][-1] < 0.99


@pytest.mark.parametrize(("field", "value"), [("accuracy", 0.4), ("repeats", 0), ("resolution", 1)])
def test_refusals(field, value):
    with pytest.raises(InputError, match=f"{field}.* {value}"):
        RandomLabelConfig(**{field: value})
