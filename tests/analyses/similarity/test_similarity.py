"""Similarity measures against image-by-image oracles, and the invariances that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import similarity
from analyses.similarity import SimilarityConfig
from feature_store.errors import InputError

EXACT = SimilarityConfig(precision="float64", k=5)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rotation(size, seed=3):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


@pytest.fixture
def arrays():
    a = normal(0, 60, 2, 2, 6) * np.linspace(0.5, 3, 6, dtype=np.float32) + 4
    b = a[..., :4] @ normal(1, 4, 5) + normal(2, 60, 2, 2, 5)
    return {
        "a#f@1": a,
        "b#f@1": b.astype(np.float32),
        "turned#f@1": (3 * a @ rotation(6)).astype(np.float32),
        "mapped#f@1": (a @ normal(4, 6, 6) - 7).astype(np.float32),
        "noise#f@1": normal(5, 60, 2, 2, 6),
    }


@pytest.fixture
def result(make_store, arrays):
    store = make_store("s", arrays, shard_images=30)
    return similarity.compute(store, sources=list(arrays), config=EXACT)


def flat(array):
    z = array.reshape(-1, array.shape[3]).astype(float)
    return z - z.mean(0)


def test_cka_equals_its_kernel_form(result, arrays):
    a, b = flat(arrays["a#f@1"]), flat(arrays["b#f@1"])
    k, m = a @ a.T, b @ b.T
    expected = (k * m).sum() / np.linalg.norm(k) / np.linalg.norm(m)
    np.testing.assert_allclose(result["cka"].values[0, 1], expected, rtol=1e-9)


def test_debiased_cka_equals_its_kernel_form(result, arrays):
    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        middle = k.sum() * m.sum() / (n - 1) / (n - 2) - 2 * k.sum(0) @ m.sum(0) / (n - 2)
        return ((k * m).sum() + middle) / n / (n - 3)

    kernels = {
        n: t @ t.T
        for n, t in ((n, x.reshape(-1, x.shape[3]).astype(float)) for n, x in arrays.items())
    }
    names = list(arrays)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            k, m = kernels[a], kernels[b]
            expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
            np.testing.assert_allclose(result["cka_debiased"].values[i, j], expected, atol=1e-9)


def test_cca_equals_the_correlations_of_orthonormal_bases(result, arrays):
    a, b = flat(arrays["a#f@1"]), flat(arrays["b#f@1"])
    basis_a, basis_b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    left, rho, _ = np.linalg.svd(basis_a.T @ basis_b)
    np.testing.assert_allclose(result["cca"].values[0, 1], rho.mean(), rtol=1e-9)
    weight = np.abs((basis_a @ left[:, :5]).T @ a).sum(1)
    np.testing.assert_allclose(result["pwcca"].values[0, 1], weight @ rho / weight.sum(), rtol=1e-9)


def test_procrustes_equals_the_best_rotation(result, arrays):
    a, b = flat(arrays["a#f@1"]), flat(arrays["mapped#f@1"])
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    u, _, v = np.linalg.svd(b.T @ a)
    expected = ((a - b @ u @ v) ** 2).sum()
    np.testing.assert_allclose(result["procrustes"].values[0, 3], expected, rtol=1e-8)


def test_svcca_of_all_variance_is_cca(make_store, arrays):
    store = make_store("s", arrays, shard_images=30)
    config = SimilarityConfig(precision="float64", variance=1.0)
    found = similarity.compute(store, sources=["a@1", "b@1"], config=config)
    np.testing.assert_allclose(found["svcca"], found["cca"], rtol=1e-9)


def test_invariances(result):
    turned = result.sel(source="a#f@1", source_2="turned#f@1")
    for measure in ("cka", "cka_debiased", "cca", "svcca", "pwcca", "mutual_knn"):
        np.testing.assert_allclose(turned[measure], 1, atol=1e-6, err_msg=measure)
    np.testing.assert_allclose(turned["procrustes"], 0, atol=1e-6)
    mapped = result.sel(source="a#f@1", source_2="mapped#f@1")
    np.testing.assert_allclose([mapped["cca"], mapped["pwcca"]], 1, atol=1e-6)
    assert mapped["cka"] < 0.99


def test_symmetry_and_diagonal(result):
    for measure in ("cka", "cka_debiased", "cca", "svcca", "procrustes", "mutual_knn"):
        values = result[measure].values
        np.testing.assert_allclose(values, values.T, atol=1e-7, err_msg=measure)
        np.testing.assert_allclose(np.diag(values), 0 if measure == "procrustes" else 1, atol=1e-7)


def test_procrustes_square_root_obeys_the_triangle_inequality(result):
    d = np.sqrt(result["procrustes"].values)
    assert (d[:, :, None] <= d[:, None, :] + d.T[None, :, :] + 1e-9).all()


def test_debiasing_takes_unrelated_sources_to_zero(make_store):
    arrays = {"a#f@1": normal(6, 80, 1, 1, 60), "b#f@1": normal(7, 80, 1, 1, 60)}
    found = similarity.compute(make_store("s", arrays), sources=list(arrays), config=EXACT)
    assert found["cka"].values[0, 1] > 0.3
    assert abs(found["cka_debiased"].values[0, 1]) < 0.05


def test_image_unit_compares_mean_tokens_and_composes_scales(make_store, arrays):
    a = arrays["a#f@1"]
    store = make_store("s", {"m#f@1": a, "m#f@2": a[..., ::-1].copy()}, shard_images=30)
    config = SimilarityConfig(unit="image", precision="float64")
    found = similarity.compute(store, sources=["m@1", "m@1+2"], config=config)
    assert found.attrs["samples"] == 60
    np.testing.assert_allclose(found["cka"], 1, atol=1e-6)
    mean = a.mean((1, 2)).astype(float)
    values = np.linalg.eigvalsh(np.cov(mean.T))
    expected = values.sum() ** 2 / (values**2).sum()
    np.testing.assert_allclose(found["participation_ratio"][0], expected, rtol=1e-5)


def test_constant_source_gives_nan_and_duplicated_channels_do_no_harm(make_store, arrays):
    a = arrays["a#f@1"]
    doubled = np.concatenate([a, a], 3)
    store = make_store(
        "s", {"a#f@1": a, "d#f@1": doubled, "k#f@1": np.full_like(a, 2)}, shard_images=30
    )
    found = similarity.compute(store, sources=["a@1", "d@1", "k@1"])
    assert np.isnan(found["cka"].values[0, 2])
    np.testing.assert_allclose(found["cca"].values[:2, :2], 1, atol=1e-5)
    assert found["effective_rank"][2] == 0


def test_refusals(make_store, arrays):
    store = make_store("s", arrays, shard_images=30)
    with pytest.raises(InputError, match="name each one once"):
        similarity.compute(store, sources=["a@1", "a#f@1"])
    with pytest.raises(InputError, match="expected 1 to 59 for 60 images"):
        similarity.compute(store, sources=["a@1"], config=SimilarityConfig(k=60))
    with pytest.raises(InputError, match="choose token or image"):
        SimilarityConfig(unit="patch")
