"""Dimensions of point sets whose dimension is known."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.similarity.dimensionality import effective_rank, participation_ratio, two_nn
from analyses.statistics.mutual_neighbours import mutual_knn, neighbour_rows
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


def test_neighbours_equal_a_full_sort_and_leave_the_image_itself_out():
    points = np.random.default_rng(1).standard_normal((50, 8))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    np.testing.assert_array_equal(
        np.sort(neighbour_rows(points, 4), 1), np.sort(np.argsort(-cosine, 1)[:, :4], 1)
    )
    same = np.ones((6, 3))
    found = neighbour_rows(same, 2)
    assert found.shape == (6, 2)
    assert (found != np.arange(6)[:, None]).all()


def test_mutual_knn_of_equal_and_unrelated_images():
    rng = np.random.default_rng(2)
    a, b = (neighbour_rows(rng.standard_normal((2000, 8)), 10) for _ in range(2))
    assert mutual_knn(a, a) == 1
    assert mutual_knn(a, b) < 0.02
    with pytest.raises(InputError, match="k is 5"):
        neighbour_rows(np.ones((5, 2)), 5)
