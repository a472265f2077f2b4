"""Principal colours: planted directions in order and sign, one basis per dataset, every day."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from analyses.token_maps import principal
from analyses.token_maps.principal import Basis, BasisConfig, basis_of_tokens, fit_basis
from feature_store import InputError, StoreError

SOURCE = "m:a#t@4"


def planted(count=3000, channels=8, seed=0):
    """Tokens of three orthogonal directions with deviations 5, 3 and 2 on a little noise."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(channels, 3)))[0].T
    scores = rng.normal(size=(count, 3)) * (5.0, 3.0, 2.0)
    return scores @ directions + 0.01 * rng.normal(size=(count, channels)) + 7.0, directions


@pytest.mark.parametrize("many", [principal.MANY, 4], ids=["covariance", "lanczos"])
def test_planted_directions_come_in_order_and_with_one_sign(many, monkeypatch):
    monkeypatch.setattr(principal, "MANY", many)
    tokens, directions = planted()
    basis = basis_of_tokens(tokens)
    alike = basis.components @ directions.T
    np.testing.assert_allclose(np.abs(alike), np.eye(3), atol=0.05)
    assert (basis.components[np.arange(3), np.abs(basis.components).argmax(1)] > 0).all()
    np.testing.assert_allclose(basis.share, np.array([25, 9, 4]) / 38, atol=0.03)
    mirrored = basis_of_tokens(2 * tokens.mean(0) - tokens)  # the sign comes from the direction
    np.testing.assert_allclose(mirrored.components, basis.components, atol=1e-6)


def test_rgb_by_hand():
    basis = Basis(
        np.array([1.0, 0.0]), np.array([[1.0, 0], [0, 1], [0, 0]]), np.array([-2.0, 0, 0]),
        np.array([2.0, 4, 0]), np.zeros(3),
    )  # fmt: skip
    tokens = np.array([[[1.0, 1.0], [9.0, -5.0]], [[np.nan, np.nan], [0.0, 4.0]]])
    expected = [[[0.5, 0.25, 0.5], [1, 0, 0.5]], [[np.nan] * 3, [0.25, 1, 0.5]]]
    np.testing.assert_allclose(basis.rgb(tokens)[..., :2], np.array(expected)[..., :2])


@pytest.mark.parametrize(
    "tokens", [np.ones((1, 5)), np.ones((9, 5)), np.eye(2), np.arange(6.0).reshape(6, 1)]
)
def test_few_directions_leave_the_others_empty(tokens):
    basis = basis_of_tokens(tokens)
    rank = np.linalg.matrix_rank(tokens - tokens.mean(0))
    assert (np.abs(basis.components).max(1) > 0).sum() == rank
    assert np.isfinite(basis.rgb(tokens)).all()


def test_one_basis_for_all_images_and_the_same_another_day(make_store):
    tokens, directions = planted(60 * 12)
    features = tokens.reshape(60, 3, 4, 8)
    failed = {7: "unreadable"}
    features[7] = np.nan
    store = make_store("s.zarr", {SOURCE: features}, shard_images=8, failed=failed)
    basis = fit_basis(store, SOURCE)
    whole = np.delete(features, 7, axis=0).reshape(-1, 8)
    np.testing.assert_allclose(basis.components, basis_of_tokens(whole).components, atol=1e-4)
    again = fit_basis(feature_store.open(store.path), SOURCE)
    np.testing.assert_array_equal(basis.rgb(features), again.rgb(features))
    sample = fit_basis(store, SOURCE, BasisConfig(tokens=200, shards=3))
    np.testing.assert_allclose(np.abs(sample.components @ directions.T), np.eye(3), atol=0.2)


def test_only_sampled_shards_are_read(make_store):
    features = planted(60 * 12)[0].reshape(60, 3, 4, 8)
    store = make_store("s.zarr", {SOURCE: features}, shard_images=4)
    fit_basis(store, SOURCE, BasisConfig(shards=2))
    assert len(store.source(SOURCE)._checked) == 2


def test_refusals(make_store):
    store = make_store("s.zarr", {SOURCE: np.full((2, 2, 2, 3), np.nan)}, failed={0: "x", 1: "x"})
    with pytest.raises(InputError, match="no readable image for m:a#t@4"):
        fit_basis(store, SOURCE)
    with pytest.raises(StoreError, match="m:b@4"):
        fit_basis(store, "m:b@4")
    with pytest.raises(InputError, match="shards is 0"):
        BasisConfig(shards=0)
