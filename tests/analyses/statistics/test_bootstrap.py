"""Resamples by hand, the same for every source, and differences between sources."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.probe import ProbeConfig
from analyses.statistics.bootstrap import (
    bootstrap_means,
    bootstrap_sums,
    differences,
    interval,
    wilson,
)
from feature_store import InputError

SINGLE, SEVERAL = "toy:a@224", "toy:a@224+448"


def test_two_images_by_hand():
    """Four equally frequent resamples of images that score 1 and 0: 1, 1/2, 1/2 and 0."""
    hits = np.array([[1.0], [0.0]])
    draws = bootstrap_means(hits, np.arange(2), 2, resamples=4000, seed=0)[:, 0]
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)
    # A source that is right where this one is wrong: their difference is 1, 0 and -1.
    other = bootstrap_means(1 - hits, np.arange(2), 2, resamples=4000, seed=0)[:, 0]
    np.testing.assert_array_equal(draws + other, 1)
    assert interval(draws - other, 0.9) == (-1, 1)


def test_spread_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(size=(400, 2))
    draws = bootstrap_means(values, np.arange(400), 400, resamples=2000, seed=3)
    np.testing.assert_allclose(draws.mean(0), values.mean(0), atol=0.005)
    np.testing.assert_allclose(draws.std(0), values.std(0) / 20, rtol=0.06)


def test_a_source_that_lacks_an_image_stays_paired():
    values = np.random.default_rng(0).normal(size=(50, 1))
    every = bootstrap_sums(values, np.arange(50), 50, resamples=30, seed=0)
    rows = np.delete(np.arange(50), 7)
    fewer = bootstrap_sums(values[rows], rows, 50, resamples=30, seed=0)
    times = (every - fewer) / values[7]  # how often the missing image was drawn
    np.testing.assert_allclose(times, times.round(), atol=1e-9)
    assert 0 < times.mean() < 3


def test_resamples_without_an_image_count_nowhere():
    draws = bootstrap_means(np.ones((1, 1)), np.array([3]), 10, resamples=100, seed=0)[:, 0]
    assert 10 < np.isnan(draws).sum() < 60  # 0.9 ** 10 = 0.35 of them
    assert interval(draws) == (1, 1)


def test_equal_hits_differ_by_exactly_zero():
    hits = np.random.default_rng(0).random((37, 1)) < 0.7
    draws = bootstrap_means(hits, np.arange(37), 37, resamples=200, seed=0)[:, 0].tolist()
    table = pd.DataFrame({"source": [SINGLE, SEVERAL], "hits": [hits.mean()] * 2})
    found = differences(table, "hits", {SINGLE: draws, SEVERAL: draws})
    assert found.to_numpy().tolist() == [[SEVERAL, SINGLE, 0.0, 0.0, 0.0]]


def test_every_s2_source_is_compared_with_every_single_scale():
    names = ["m:a@1", "m:a@1+2", "m:b@1", "m:a@1+2+3"]
    table = pd.DataFrame({"source": names, "x": [1.0, 2.0, 4.0, 8.0]})
    draws = {name: [x - 1, x + 1] for name, x in zip(names, table["x"], strict=True)}
    found = differences(table, "x", draws)
    pairs = {(row.source, row.against): row.difference for row in found.itertuples()}
    assert pairs == {
        ("m:a@1+2", "m:a@1"): 1, ("m:a@1+2", "m:b@1"): -2,
        ("m:a@1+2+3", "m:a@1"): 7, ("m:a@1+2+3", "m:b@1"): 4,
    }  # fmt: skip
    assert (found["low"] == found["difference"]).all()
    assert len(differences(table[:1], "x", draws)) == 0


def test_no_resamples_are_refused():
    with pytest.raises(InputError, match="resamples is 0"):
        ProbeConfig(resamples=0)


def test_wilson_matches_its_defining_equation():
    # The ends p of the interval satisfy |p_hat - p| = z sqrt(p (1 - p) / n).
    for hits, count in ((0, 10), (8, 10), (37, 400)):
        for end in wilson(hits, count):
            spread = 1.959964 * np.sqrt(end * (1 - end) / count)
            assert abs(hits / count - end) == pytest.approx(spread, abs=1e-6)
