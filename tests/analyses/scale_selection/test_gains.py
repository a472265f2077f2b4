"""Gains and the greedy order: by brute force over all sets of crops."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from analyses.scale_selection.gains import greedy
from analyses.scale_selection.policies import choose

RNG = np.random.default_rng(0)


def square(target):
    return lambda z: np.square(z - target[:, None]).mean((-1, -2))


def test_single_gains_and_keys_are_those_of_all_sets():
    target, start = RNG.normal(size=(2, 5, 6, 3))
    added = RNG.normal(size=(5, 4, 6, 3))
    gains, keys = greedy(start, added, square(target))
    loss = square(target)
    before = loss(start[:, None])[:, 0]
    for crop in range(4):
        np.testing.assert_allclose(
            gains[:, crop], before - loss((start + added[:, crop])[:, None])[:, 0]
        )
    for n in range(5):
        run, now = [], start[n]
        for crop in np.argsort(-keys[n]):
            left = [k for k in range(4) if k not in run]
            losses = {k: np.square(now + added[n, k] - target[n]).mean() for k in left}
            assert crop == min(losses, key=losses.get)
            run.append(crop)
            now = now + added[n, crop]


def test_separate_crops_are_chosen_as_the_best_of_all_sets_of_a_data_set():
    # Each crop changes a cell of its own, so greedy is optimal: compare with every set of 3 of 8.
    target = RNG.normal(size=(2, 4, 1))
    added = np.zeros((2, 4, 4, 1))
    added[:, range(4), range(4)] = RNG.normal(size=(2, 4, 1))
    start = np.zeros_like(target)
    _, keys = greedy(start, added, square(target))

    def loss(chosen):
        z = start + np.einsum("nk,nkcv->ncv", chosen, added)
        return np.square(z - target).sum()

    best = min(
        loss(np.isin(np.arange(8), some).reshape(2, 4)) for some in combinations(range(8), 3)
    )
    np.testing.assert_allclose(loss(choose(keys, 3 / 8)), best)
