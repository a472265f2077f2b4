"""Similarity measures against image-by-image oracles, and the invariances that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import similarity
from analyses.similarity import SimilarityConfig, calibration
from analyses.similarity.calibration import Points, scores
from analyses.statistics.nearest_neighbours import neighbour_rows
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


FIELDS = (*similarity.MEASURES, *similarity.CALIBRATED)


def test_wide_unrelated_sources_seem_alike_and_calibrated_scores_do_not(make_store):
    arrays = {"a#f@1": normal(6, 80, 1, 1, 60), "b#f@1": normal(7, 80, 1, 1, 60)}
    found = similarity.compute(make_store("s", arrays), sources=list(arrays), config=EXACT)
    pair = found.isel(source=0, source_2=1)
    assert pair["cka"] > 0.3
    assert pair["cca"] > 0.5
    for measure in ("cka", "cca", "procrustes", "mutual_knn"):
        assert pair[f"calibrated_{measure}"] < 0.05, measure
    (warning,) = found.attrs["warnings"]
    assert "80 samples of 60 and 60 channels" in warning
    assert "0.43" in warning


def test_chance_exceeds_its_threshold_once_in_twenty():
    exceeded = np.zeros(len(calibration.MEASURES))
    for k in range(300):
        sides = [normal([k, side], 12, 3 + 5 * side) for side in (0, 1)]
        points = [Points.of(x, neighbour_rows(x, 3)) for x in sides]
        found = calibration.calibrate(*points, permutations=19, seed=k)
        exceeded += [found[f"calibrated_{name}"] > 0 for name in calibration.MEASURES]
    assert (exceeded <= 30).all()  # 15 expected; four standard deviations
    assert (exceeded[:3] >= 2).all()


def test_the_threshold_of_a_similar_pair_is_the_quantile_of_all_scores():
    a = normal(0, 40, 4)
    sides = a, a @ normal(1, 4, 6) + 0.5 * normal(2, 40, 6)
    points = [Points.of(x, neighbour_rows(x, 5)) for x in sides]
    found = calibration.calibrate(*points, permutations=40, seed=3)
    rng = np.random.default_rng(3)
    everything = [scores(*points, np.arange(40))]
    everything += [scores(*points, rng.permutation(40)) for _ in range(40)]
    q = np.quantile(everything, 0.95, axis=0)  # rank 39 of 41, no interpolation
    beyond = (everything[0] - q) / (1 - q)
    for name, threshold, score in zip(calibration.MEASURES, q, beyond, strict=True):
        assert found[f"null_{name}"] == pytest.approx(threshold)
        assert found[f"calibrated_{name}"] == pytest.approx(score)


def test_scores_in_the_images_own_order_are_the_measures(make_store, arrays):
    a, b = (x[:, :1, :1] for x in (arrays["a#f@1"], arrays["b#f@1"]))
    found = similarity.compute(
        make_store("s", {"a#f@1": a, "b#f@1": b}), sources=["a@1", "b@1"], config=EXACT
    ).isel(source=0, source_2=1)
    sides = [Points.of(x[:, 0, 0].astype(float), neighbour_rows(x[:, 0, 0], 5)) for x in (a, b)]
    own = dict(zip(calibration.MEASURES, scores(*sides, np.arange(60)), strict=True))
    own["procrustes"] = 2 - 2 * own["procrustes"]
    for measure, value in own.items():
        np.testing.assert_allclose(found[measure], value, atol=1e-6, err_msg=measure)
    order = np.random.default_rng(8).permutation(60)
    moved = Points.of(b[order, 0, 0].astype(float), neighbour_rows(b[order, 0, 0], 5))
    np.testing.assert_allclose(
        scores(sides[0], sides[1], order), scores(sides[0], moved, np.arange(60)), atol=1e-6
    )


def test_calibrated_scores_are_symmetric_and_one_for_equal_sources(result):
    for field in similarity.CALIBRATED:
        values = result[field].values
        np.testing.assert_array_equal(values, values.T)
        np.testing.assert_allclose(values[0, 2], 1, atol=1e-6)  # turned
        np.testing.assert_array_equal(np.diag(values), 1)


def test_no_similarity_exceeds_one(result):
    for field in set(FIELDS) - {"procrustes"}:
        assert np.nanmax(result[field]) <= 1, field


def test_cca_is_not_calibrated_with_fewer_images_than_channels(make_store):
    arrays = {"a#f@1": normal(6, 20, 1, 1, 30), "b#f@1": normal(7, 20, 1, 1, 30)}
    found = similarity.compute(make_store("s", arrays), sources=list(arrays), config=EXACT)
    assert np.isnan(found["calibrated_cca"].values[0, 1])


@pytest.mark.parametrize("value", [0.0, 2.0, 0.1, 1e4 / 3])
def test_a_constant_source_is_nan_in_every_measure(make_store, arrays, value):
    both = {"a#f@1": arrays["a#f@1"], "k#f@1": np.full((60, 2, 2, 6), value, np.float32)}
    found = similarity.compute(make_store("s", both, shard_images=30), sources=["a@1", "k@1"])
    for field in FIELDS:
        values = found[field].values
        assert np.isnan([values[0, 1], values[1, 0], values[1, 1]]).all(), field
        assert np.isfinite(values[0, 0])
    assert np.isnan(found["intrinsic_dimension"][1])


def test_permutations_may_be_left_out(make_store, arrays):
    store = make_store("s", arrays, shard_images=30)
    found = similarity.compute(
        store, sources=["a@1", "b@1"], config=SimilarityConfig(permutations=0)
    )
    assert np.isnan(found["calibrated_cka"]).all()
    with pytest.raises(InputError, match="permutations is 5; expected 0 or at least 19"):
        SimilarityConfig(permutations=5)
