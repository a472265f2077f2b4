"""Questions to moments against closed forms of planted Gaussian channels."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import MomentsConfig
from analyses.reconstruction import ReconstructionConfig, fit, pairs
from analyses.reconstruction.scale_subsets import subsets, unique_and_shared
from analyses.statistics import gaussian
from analyses.statistics.information import PERFECT, bits

PLAIN = ReconstructionConfig(ridge=0, precision="float64")


def moments_of(arrays, precision="float64"):
    """Moments of (image, channel) arrays, one token per image."""
    acc = Accumulator(
        {name: a.shape[1] for name, a in arrays.items()}, MomentsConfig(precision=precision)
    )
    acc.update(
        {name: a[:, None, None] for name, a in arrays.items()},
        np.arange(len(next(iter(arrays.values())))),
    )
    return acc.result()


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def channel():
    """y = x + noise with a different signal-to-noise ratio, and a different size, per channel."""
    snr = np.array([0.5, 3.0, 15.0])
    size = np.array([1.0, 5.0, 0.1])
    x, noise = normal(0, 200_000, 3), normal(1, 200_000, 3)
    y = size * (x + noise / np.sqrt(snr))
    turn = np.linalg.qr(normal(2, 3, 3))[0]
    return {"x#f@1": x, "y#f@1": y, "z#f@1": y @ turn}, snr, size


def test_gaussian_information_of_an_anisotropic_channel_is_known_and_symmetric(channel):
    arrays, snr, _ = channel
    moments = moments_of(arrays)
    truth = 0.5 * np.log2(1 + snr).sum()
    found = gaussian.gaussian_bits(moments, ["x#f@1"], ["y#f@1"])
    assert abs(found / truth - 1) < 0.01
    for pair in (("y#f@1", "x#f@1"), ("x#f@1", "z#f@1")):
        same = gaussian.gaussian_bits(moments, [pair[0]], [pair[1]])
        np.testing.assert_allclose(same, found, rtol=1e-9)
    assert gaussian.gaussian_bits(moments, ["x#f@1"], ["x#f@1"]) == 3 * PERFECT / 2


def test_isotropy_tells_the_papers_bits_from_the_full_measure(channel):
    arrays, snr, size = channel
    moments = moments_of(arrays)
    truth = np.log2(1 + snr).mean()
    variance = size**2 * (1 + 1 / snr)
    assumed = np.log2(variance.sum() / (size**2 / snr).sum())
    straight = gaussian.isotropy(moments, fit(moments, ["x#f@1"], ["y#f@1"], PLAIN), ["y#f@1"])
    turned = gaussian.isotropy(moments, fit(moments, ["x#f@1"], ["z#f@1"], PLAIN), ["z#f@1"])
    np.testing.assert_allclose(straight["full"], truth, rtol=0.01)
    np.testing.assert_allclose(straight["channelwise"], truth, rtol=0.01)
    np.testing.assert_allclose(straight["isotropic"], assumed, rtol=0.01)
    np.testing.assert_allclose(turned["full"], straight["full"], rtol=1e-9)
    assert abs(turned["channelwise"] - truth) > 0.1


def test_scale_decomposition_of_a_target_made_from_known_parts():
    """Target channel 0 only in scale 1, channel 1 only in scale 2, channel 2 in both."""
    both = normal(3, 50_000, 1)
    one = np.concatenate([normal(4, 50_000, 1), both], 1)
    two = np.concatenate([normal(5, 50_000, 1), both], 1)
    y = np.concatenate([one[:, :1], two[:, :1], both, normal(6, 50_000, 1)], 1)
    moments = moments_of({"m#f@1": one, "m#f@2": two, "y#f@1": y})
    scales = ["m#f@1", "m#f@2"]
    maps = {subset: fit(moments, subset, ["y#f@1"], PLAIN) for subset in subsets(scales)}
    held = {s: float(bits(m.residual.mean(), m.variance.mean())) for s, m in maps.items()}
    found = unique_and_shared(held, scales)
    np.testing.assert_allclose(found["together"], 2.0, atol=0.02)
    np.testing.assert_allclose(found["alone"], 1.0, atol=0.02)
    np.testing.assert_allclose(found["unique"], 1.0, atol=0.02)
    np.testing.assert_allclose(found["shared"], 0.0, atol=0.03)
    single = unique_and_shared(held, scales[:1])
    np.testing.assert_allclose(single["unique"], single["together"])


def test_pair_matrix_is_symmetric_where_it_should_be():
    x, w = normal(7, 5000, 4), normal(8, 5000, 3)
    moments = moments_of({"x#f@1": x, "v#f@1": x @ normal(9, 4, 4), "w#f@1": w})
    found = pairs.pair_matrix(moments, ["x#f@1", "v#f@1", "w#f@1"], config=PLAIN)
    np.testing.assert_allclose(found["gaussian_bits"], found["gaussian_bits"].values.T, atol=1e-9)
    assert found["gaussian_bits"].values[0, 2] < 0.01
    assert found["gaussian_bits"].values[0, 1] > 50
    assert found["train_info_bits"].values[0, 1] > 30
    np.testing.assert_allclose(found["train_info_bits"][:2, 2], 0, atol=0.01)


def test_low_rank_curve_rises_to_the_full_map_and_is_optimal():
    x = normal(10, 4000, 6)
    mix = normal(11, 6, 2) @ normal(12, 2, 8)
    y = x @ mix + 0.3 * normal(13, 4000, 8)
    moments = moments_of({"x#f@1": x, "y#f@1": y})
    solution = fit(moments, ["x#f@1"], ["y#f@1"], PLAIN)
    train = gaussian.rank_curve(moments, solution, ["y#f@1"])
    assert train[0] == 0
    assert (np.diff(train) > -1e-12).all()
    np.testing.assert_allclose(
        train[-1], bits(solution.residual.mean(), solution.variance.mean()), rtol=1e-9
    )
    assert train[-1] - train[2] < 0.01 * train[-1]
    centred = x - x.mean(0)
    fitted = centred @ solution.weights
    top = np.linalg.svd(fitted, full_matrices=False)[2][:1]
    error = ((y - y.mean(0) - fitted @ top.T @ top) ** 2).mean()
    np.testing.assert_allclose(train[1], -np.log2(error / y.var(0).mean()), rtol=1e-9)


def test_constant_target_has_no_information():
    moments = moments_of({"x#f@1": normal(14, 50, 2), "k#f@1": np.ones((50, 2))})
    solution = fit(moments, ["x#f@1"], ["k#f@1"], PLAIN)
    found = gaussian.isotropy(moments, solution, ["k#f@1"])
    assert found == {"isotropic": 0.0, "channelwise": 0.0, "full": 0.0}
    assert gaussian.gaussian_bits(moments, ["k#f@1"], ["x#f@1"]) == 0
