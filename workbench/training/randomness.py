"""Data order and random state, both functions of the seed and the step.

A run that resumes at step n draws the same random numbers as an uninterrupted run, without a saved
random state.
"""

from __future__ import annotations

import functools
import random

import numpy as np
import torch

ORDER, STATE, START = 0, 1, 2
"""Streams of one seed: data order, random state of the steps, random state before the first."""


def rows_of_step(step: int, *, count: int, batch: int, seed: int) -> np.ndarray:
    """Rows of a step's batch: int64, dims (batch,).

    Every epoch is a permutation of all rows, seeded by its number. Batches continue across epochs,
    so all have the same size.

    Parameters
    ----------
    step : int
        Number of the step, from 1.
    count : int
        Rows of the data, at least 1.

    Examples
    --------
    >>> two_epochs = [rows_of_step(step, count=3, batch=2, seed=0) for step in (1, 2, 3)]
    >>> np.bincount(np.concatenate(two_epochs)).tolist()
    [2, 2, 2]
    """
    places = np.arange((step - 1) * batch, step * batch)
    epochs, offsets = places // count, places % count
    orders = {epoch: _order(count, seed, epoch) for epoch in np.unique(epochs).tolist()}
    return np.array([orders[e][o] for e, o in zip(epochs.tolist(), offsets, strict=True)])


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((ORDER, seed, epoch)).permutation(count)


def step_generator(step: int, seed: int, *more: int) -> np.random.Generator:
    """A random generator for the batch of a step, such as for crops and flips.

    Further numbers select independent generators, for example one per image.
    """
    return np.random.default_rng((STATE, seed, step, *more))


def seed_step(step: int, seed: int, *more: int) -> None:
    """Set the global random states of torch, numpy and Python for a step.

    Seed step 0 before the model is built. Further numbers select independent streams, for example
    one per process; 0 selects the same stream as none.
    """
    torch.manual_seed(_seed_libraries(step, seed, *more))


def seed_image(step: int, seed: int, place: int) -> None:
    """As :func:`seed_step`, for an image that the CPU decodes and augments; `place` counts from 1.

    Generators of other devices stay, since seeding them takes a noticeable part of a small image.
    """
    torch.default_generator.manual_seed(_seed_libraries(step, seed, place))


def _seed_libraries(step: int, seed: int, *more: int) -> int:
    """Seed numpy and Python, and return the seed for torch."""
    stream = START if step == 0 else STATE
    numbers = (stream, seed, step, *more)
    first, second, third = np.random.SeedSequence(numbers).generate_state(3).tolist()
    np.random.seed(second)  # noqa: NPY002  # for libraries that draw from numpy's global state
    random.seed(third)
    return int(first)
