"""Exact neighbours equal brute force with numpy; duplicates and wrong labels are found."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.statistics import nearest_neighbours
from analyses.statistics.nearest_neighbours import (
    class_distances,
    label_error_candidates,
    mutual_knn,
    near_duplicates,
    neighbour_rows,
    normalise,
    search,
    search_others,
)
from feature_store import InputError

RNG = np.random.default_rng(0)
ROWS = normalise(RNG.normal(size=(50, 8)))
QUERIES = normalise(RNG.normal(size=(9, 8)))


@pytest.mark.parametrize("with_faiss", [True, False])
def test_equals_brute_force(with_faiss, monkeypatch):
    if with_faiss:
        pytest.importorskip("faiss")
    else:
        monkeypatch.setattr(nearest_neighbours, "_faiss", lambda: None)
    found = search(ROWS, QUERIES, 4)
    cosine = QUERIES.astype(float) @ ROWS.T.astype(float)
    np.testing.assert_array_equal(found.row, np.argsort(-cosine, axis=1)[:, :4])
    np.testing.assert_allclose(found.similarity, -np.sort(-cosine, axis=1)[:, :4], atol=1e-6)


def test_index_moves_to_the_gpu_where_faiss_was_built_for_it(monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(nearest_neighbours.sys, "platform", "linux")
    moved = []
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
    monkeypatch.setattr(
        faiss, "index_cpu_to_gpu", lambda *given: moved.append(given) or given[2], raising=False
    )
    rows = normalise(np.random.default_rng(3).normal(size=(30, 5)))
    found = search(rows, rows[:4], 3, device="cuda")
    np.testing.assert_array_equal(found.row, search(rows, rows[:4], 3).row)
    assert [given[:2] for given in moved] == [("resources", 0)]


def test_a_copy_is_a_neighbour_but_the_row_itself_is_not():
    rows = np.concatenate([ROWS, ROWS[:1], ROWS[:1]])
    found = search_others(rows, 2)
    assert set(found.row[0]) == {50, 51}
    assert (found.row != np.arange(len(rows))[:, None]).all()


def test_many_copies_leave_k_neighbours():
    found = search_others(np.repeat(ROWS[:1], 6, 0), 2)
    assert found.row.shape == (6, 2)
    assert (found.row != np.arange(6)[:, None]).all()


def test_search_survives_torch_in_the_same_process():
    import torch

    for _ in range(3):
        torch.randn(200, 200) @ torch.randn(200, 200)
        search(ROWS, QUERIES, 3)


def test_near_duplicates_are_found_across_splits():
    test = np.concatenate([QUERIES, normalise(ROWS[[7]] + 0.01 * RNG.normal(size=(1, 8)))])
    table = near_duplicates(ROWS, test)
    assert table[["test_row", "train_row"]].to_numpy().tolist() == [[9, 7]]


def test_swapped_label_is_the_top_candidate():
    labels = np.arange(60) % 2
    x = normalise(0.2 * RNG.normal(size=(60, 4)) + np.eye(2, 4)[labels])
    wrong = labels.copy()
    wrong[11] = 1 - wrong[11]
    table = label_error_candidates(x, wrong)
    assert table["row"].tolist() == [11]
    assert table["suggested"][0] == labels[11]


def test_zero_rows_stay_zero():
    assert (normalise(np.zeros((2, 3))) == 0).all()


def test_refusals():
    with pytest.raises(InputError, match="expected 1 to 50"):
        search(ROWS, QUERIES, 51)
    with pytest.raises(InputError, match="8 channels and queries 5"):
        search(ROWS, QUERIES[:, :5], 1)


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


def test_distances_by_hand():
    rows = normalise(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    queries = normalise(np.array([[0.0, 1.0], [0.0, 1.0]]))
    distance, threshold = class_distances(
        rows, np.array([0, 0, 1]), queries, np.array([0, 1]), neighbours=2
    )
    np.testing.assert_allclose(distance, [1, 0], atol=1e-7)  # orthogonal to class 0, equal to 1
    np.testing.assert_allclose(threshold, [0, np.nan], atol=1e-7)
