"""All folds in one problem lose what the plain solver loses, one fold after the other."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.linear import folds as module
from analyses.linear.config import HeadConfig
from analyses.linear.folds import FitsInTurn, FoldedFits
from analyses.linear.logistic import LogisticProblem
from analyses.probe import choose_l2
from analyses.reading.pooled import FeatureRows


def problem(rows=240, channels=12, memory_mb=256, classes=4):
    """Correlated channels; the last class is rare; folds include rows that are never held out."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(channels, channels)) * np.logspace(0, -2, channels)
    x = (rng.normal(size=(rows, channels)) @ mix + 20).astype(np.float32)
    scores = (x - 20) @ rng.normal(size=(channels, classes)) + rng.gumbel(size=(rows, classes))
    scores[:, -1] -= 4
    folds = rng.integers(-1, 3, rows)
    config = HeadConfig(memory_mb=memory_mb)
    return LogisticProblem(FeatureRows.of(x), scores.argmax(1), classes, config), folds


@pytest.mark.parametrize("rotated", [2048, 0])
def test_losses_are_those_of_one_fold_after_the_other(monkeypatch, rotated):
    monkeypatch.setattr(module, "ROTATED", rotated)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 200)  # several blocks for each fold
    together, in_turn = (kind(*problem()) for kind in (FoldedFits, FitsInTurn))
    for l2 in (3.0, 0.1, 1e-3):
        found, expected = (fits.held_out_loss(l2, 1e-7) for fits in (together, in_turn))
        assert found == pytest.approx(expected, rel=1e-5)


def test_fewer_rows_than_channels():
    together, in_turn = (kind(*problem(rows=40, channels=60)) for kind in (FoldedFits, FitsInTurn))
    found, expected = (fits.held_out_loss(0.1, 1e-7) for fits in (together, in_turn))
    assert found == pytest.approx(expected, rel=1e-5)


def test_constant_channel_and_a_class_that_is_never_held_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    x[:, 2] = 7
    labels = np.arange(60) % 2
    labels[:2] = 2
    folds = np.where(labels == 2, -1, np.arange(60) // 4 % 3)
    fits = [
        kind(LogisticProblem(FeatureRows.of(x), labels, 3), folds)
        for kind in (FoldedFits, FitsInTurn)
    ]
    found, expected = (fit.held_out_loss(0.1, 1e-6) for fit in fits)
    assert found == pytest.approx(expected, rel=1e-5)


def test_rows_in_memory_and_rows_read_again_choose_the_same_penalty():
    tried = []
    memory, disk = (problem(memory_mb=mb) for mb in (256, 0))
    assert (memory[0].in_memory, disk[0].in_memory) == (True, False)
    assert choose_l2(*memory, tried.append) == choose_l2(*disk)
    assert tried[0] > tried[-1]


def test_the_third_penalty_starts_nearer_than_the_second_heads():
    """On the line through the heads of the two before, in equal ratios of the penalty."""
    fits = FoldedFits(*problem(rows=600))
    for l2 in (0.1, 0.03, 0.01):
        fits.held_out_loss(l2, 1e-6)
        if l2 > 0.01:
            start = 2 * fits._at - fits._before
            last = fits._at
    assert (fits._at - start).norm() < 0.7 * (fits._at - last).norm()
