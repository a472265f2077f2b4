"""Dimensions of point sets whose dimension is known."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.similarity.dimensionality import effective_rank, participation_ratio, two_nn
from feature_store.errors import InputError


@pytest.mark.parametrize("measure", [effective_rank, participation_ratio])
def test_ranks_count_equal_directions_and_ignore_scale(measure):
    for count in (1, 3, 8):
        values = np.r_[np.full(count, 0.7), np.zeros(5)]
        np.testing.assert_allclose(measure(values), count)
        np.testing.assert_allclose(measure(1e6 * values), count)
    assert measure(np.zeros(4)) == 0
    assert measure(np.array([-1e-18, 0.0])) == 0


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_two_nn_finds_the_dimension_of_an_embedded_cube(dimension):
    rng = np.random.default_rng(dimension)
    cube = rng.random((4000, dimension))
    turn = np.linalg.qr(rng.standard_normal((30, 30)))[0][:dimension]
    points = 50 * cube @ turn + 1000
    assert abs(two_nn(points) / dimension - 1) < 0.1
    np.testing.assert_allclose(two_nn(3 * points @ np.eye(30)[::-1]), two_nn(points), rtol=0.02)


def test_two_nn_leaves_duplicates_out():
    points = np.random.default_rng(0).random((1000, 2))
    doubled = np.concatenate([points, points[:5]])
    assert abs(two_nn(doubled) - two_nn(points)) < 0.1
    assert np.isnan(two_nn(np.zeros((10, 2))))
    with pytest.raises(InputError, match="at least 3 images, found 2"):
        two_nn(points[:2])
