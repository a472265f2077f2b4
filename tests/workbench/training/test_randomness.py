"""Each epoch visits every row once, in an order that the seed and the epoch decide."""

from __future__ import annotations

import random

import numpy as np
import torch

from workbench.training.randomness import rows_of_step, seed_image, seed_step, step_generator


def test_every_epoch_holds_every_row_once():
    rows = np.concatenate([rows_of_step(s, count=7, batch=3, seed=4) for s in range(1, 15)])
    epochs = rows.reshape(6, 7)
    assert (np.sort(epochs) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 6
    assert not np.array_equal(rows[:3], rows_of_step(1, count=7, batch=3, seed=5))


def test_a_batch_may_be_larger_than_the_data():
    assert np.bincount(rows_of_step(1, count=2, batch=5, seed=0)).sum() == 5


def draws():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()  # noqa: NPY002


def test_global_states_depend_on_seed_and_step_alone():
    seed_step(3, 1)
    first = draws()
    draws()
    seed_step(3, 1)
    assert draws() == first
    for step, seed in ((4, 1), (3, 2), (0, 1)):
        seed_step(step, seed)
        assert all(a != b for a, b in zip(draws(), first, strict=True))
    seed_step(3, 1, 0)
    assert draws() == first, "0 adds nothing: the first of several processes"
    seed_step(3, 1, 2)
    assert draws() != first
    assert step_generator(3, 1).random() == step_generator(3, 1).random()


def test_an_image_has_a_stream_of_its_step():
    seed_step(3, 1, 2)
    first = draws()
    seed_image(3, 1, 2)
    assert draws() == first
    seed_image(3, 1, 3)
    assert draws() != first
