"""Points in the plane: exact for PCA, seeded for t-SNE, small inputs, unknown methods."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.statistics import embedding
from feature_store import InputError


def test_pca_is_the_projection_onto_the_two_leading_directions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * (5, 3, 1, 0.5, 0.1)
    found = embedding.embed(x)
    centred = x - x.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    np.testing.assert_allclose(np.abs(found), np.abs(centred @ vectors[:, ::-1][:, :2]))


@pytest.mark.parametrize("count", [1, 2, 4, 12])
@pytest.mark.parametrize("method", ["PCA", "t-SNE"])
def test_few_images(count, method):
    found = embedding.embed(np.random.default_rng(0).normal(size=(count, 3)), method)
    assert found.shape == (count, 2)
    assert np.isfinite(found).all()


def test_t_sne_keeps_groups_apart_and_is_the_same_again():
    groups = np.repeat([0, 1], 20)
    x = np.random.default_rng(0).normal(size=(40, 4)) + 20 * groups[:, None]
    found = embedding.embed(x, "t-SNE")
    np.testing.assert_array_equal(found, embedding.embed(x, "t-SNE"))
    distance = np.linalg.norm(found[:, None] - found[None], axis=-1) + 1e9 * np.eye(40)
    assert (groups[distance.argmin(1)] == groups).all()


def test_methods_that_are_not_here_are_refused(monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="'UMAP'.*PCA, t-SNE"):
        embedding.embed(np.ones((3, 2)), "UMAP")
