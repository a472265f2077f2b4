"""Tests of success rates against scipy, closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analyses.statistics.trials import fisher, mcnemar, over_seeds, paired, trials_needed


def test_mcnemar_is_a_sign_test_of_positions_that_differ():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 60)) < [[0.7], [0.4]]
    only = (one & ~other).sum(), (other & ~one).sum()
    assert mcnemar(one, other) == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    assert mcnemar(one, other) == mcnemar(other, one)
    assert mcnemar(one, one) == 1.0


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(1)
    hard = rng.random(400)
    one, other = (hard < 0.6)[None], (hard < 0.5)[None]
    shuffled = other[:, rng.permutation(400)]
    narrow, wide = paired(one, other), paired(one, shuffled)
    assert narrow.difference == pytest.approx(one.mean() - other.mean())
    assert narrow.difference == pytest.approx(wide.difference)
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)
    assert narrow.low > 0
    assert paired(other, one).difference == -narrow.difference


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(2)
    alike = rng.random((2, 200)) < 0.5
    apart = rng.random((2, 200)) < [[0.1], [0.9]]
    none = np.zeros((2, 200), bool)
    alike, apart = paired(alike, none), paired(apart, none)
    assert alike.high - alike.low < 0.2 * (apart.high - apart.low)
    assert apart.high - apart.low > 5, "two seeds tell next to nothing of others"
    assert np.isnan(apart.p)


@pytest.mark.parametrize(("seeds", "seed_spread", "position_spread"),
                         [(1, 0.0, 0.3), (3, 0.15, 0.3), (3, 0.0, 0.3), (5, 0.1, 0.0)])  # fmt: skip
def test_the_interval_holds_the_mean_in_95_of_100_experiments(seeds, seed_spread, position_spread):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        rate = 0.6 + rng.normal(0, seed_spread, (seeds, 1)) + rng.normal(0, position_spread, 100)
        found = over_seeds(rate + rng.normal(0, 0.3, rate.shape))
        held.append(found.low <= 0.6 <= found.high)
    assert np.mean(held) > 0.94


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_of_rates_near_one_is_neither_too_narrow_nor_useless(seeds):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        hard = rng.random(200) < 0.1  # positions that are lost half the time, the others never
        found.append(over_seeds(~(hard & (rng.random((seeds, 200)) < 0.5))))
    assert np.mean([one.low <= 0.95 <= one.high for one in found]) > 0.92
    assert np.mean([one.high - one.low for one in found]) < 0.1


def test_fisher_is_that_of_scipy():
    table = [[10, 6], [8, 8]]
    assert fisher((10, 16), (8, 16)) == pytest.approx(stats.fisher_exact(table).pvalue)


@pytest.mark.parametrize(("first", "second"), [(0.625, 0.4375), (0.9, 0.7)])
def test_so_many_trials_find_the_difference_in_four_of_five_studies(first, second):
    count = trials_needed(first, second)
    assert count == trials_needed(second, first)
    rng = np.random.default_rng(0)
    p, q = (rng.binomial(count, rate, 20_000) / count for rate in (first, second))
    spread = np.sqrt((p + q) / 2 * (1 - (p + q) / 2) * 2 / count)
    assert np.mean(np.abs(p - q) / spread > 1.96) == pytest.approx(0.8, abs=0.03)
    assert trials_needed(first, second, power=0.9) > count
