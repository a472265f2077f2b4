"""Reconstruction against closed forms: planted channels, invertible maps, noise, coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses import reconstruction
from analyses.reconstruction import ReconstructionConfig
from analyses.statistics.bootstrap import interval
from analyses.statistics.information import PERFECT, bits, bootstrap, ratio
from feature_store.errors import InputError
from feature_store.recorded_images import recorded_images

EXACT = ReconstructionConfig(ridge=0, precision="float64", resamples=50)


def maps(images, channels, seed, grid=(2, 2)):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((images, *grid, channels)).astype(np.float32)


@pytest.fixture
def stores(make_store):
    """Two stores of sources a@1, a@2 (8 channels each), b@1 (6) and a target t@1 made from them."""

    def make(images=200, noise=0.5, extra=None):
        out = []
        for split, seed in (("train", 0), ("test", 100)):
            a1, a2, b = maps(images, 8, seed), maps(images, 8, seed + 1), maps(images, 6, seed + 2)
            mix = np.random.default_rng(9).standard_normal((16, 6)).astype(np.float32)
            clean = np.concatenate([a1, a2], 3) @ mix / 4
            target = clean + noise * maps(images, 6, seed + 3)
            arrays = {"a#f@1": a1, "a#f@2": a2, "b#f@1": b, "t#f@1": target}
            arrays |= {} if extra is None else extra(arrays)
            out.append(make_store(split, arrays, shard_images=64))
        return out

    return make


def test_rows_have_the_agreed_fields_and_s2_sources_combine_scales(stores):
    train, test = stores()
    result = reconstruction.compute(
        train, test, target="t@1", sources=["a@1", "a@1+2"], reference="b@1", config=EXACT
    )
    table = reconstruction.rows(result)
    assert tuple(table.columns) == reconstruction.ROW_FIELDS
    assert list(table["source"]) == ["a#f@1", "a#f@1+2", "b#f@1"]
    assert set(table["target"]) == {"t#f@1"}
    one, both, noise = table["train_info_bits"]
    assert both > one > noise
    assert abs(table["test_info_bits"][2]) < 0.1
    assert (table["test_info_low"] <= table["test_info_bits"]).all()
    assert (table["test_info_bits"] <= table["test_info_high"]).all()
    assert table["train_ratio"][2] == 1.0


@pytest.mark.parametrize("source", ["a@1", "a@1+2"])
def test_losses_equal_lstsq_on_the_raw_tokens(stores, source):
    train, test = stores()
    result = reconstruction.compute(train, test, target="t@1", sources=[source], config=EXACT)
    x, y, x_new, y_new = (
        store.features(name).values.reshape(-1, store.features(name).sizes["channel"]).astype(float)
        for store in (train, test)
        for name in (source, "t@1")
    )
    fit = np.linalg.lstsq(np.c_[np.ones(len(x)), x], y, rcond=None)[0]
    error = y - np.c_[np.ones(len(x)), x] @ fit
    error_new = y_new - np.c_[np.ones(len(x_new)), x_new] @ fit
    row = reconstruction.rows(result).iloc[0]
    np.testing.assert_allclose(row["train_loss"], (error**2).mean(), rtol=1e-6)
    np.testing.assert_allclose(row["test_loss"], (error_new**2).mean(), rtol=1e-6)
    null = ((y_new - y.mean(0)) ** 2).mean()
    np.testing.assert_allclose(
        row["test_info_bits"], -np.log2((error_new**2).mean() / null), rtol=1e-6
    )
    by_cell = (error_new**2).reshape(-1, 2, 2, 6).mean((0, 3))
    np.testing.assert_allclose(result["loss_map"][0], by_cell, rtol=1e-6)


def test_planted_gaussian_channel_has_its_known_information(make_store):
    """y = x + n with var(x) = 3 var(n): l / l0 = 1/4, so 2 bits, within one per cent."""
    out = []
    for split, seed in (("train", 0), ("test", 50)):
        x = np.sqrt(3) * maps(3000, 4, seed)
        arrays = {"x#f@1": x, "y#f@1": x + maps(3000, 4, seed + 1)}
        out.append(make_store(split, arrays, shard_images=1500))
    result = reconstruction.compute(*out, target="y@1", sources=["x@1"])
    assert abs(float(result["test_info_bits"][0]) - 2) < 0.02
    assert abs(float(result["train_info_bits"][0]) - 2) < 0.02


def test_invertible_map_of_the_target_has_zero_loss_and_full_ratio(stores):
    turn = np.random.default_rng(7).standard_normal((6, 6)).astype(np.float32)
    train, test = stores(extra=lambda arrays: {"u#f@1": arrays["t#f@1"] @ turn + 2})
    result = reconstruction.compute(
        train, test, target="t@1", sources=["u@1"], reference="t@1", config=EXACT
    )
    np.testing.assert_allclose(result["train_loss"], 0, atol=1e-10)
    np.testing.assert_allclose(result["test_loss"], 0, atol=1e-10)


@pytest.mark.parametrize("source", ["a@1", "a@1+2"])
def test_information_is_unchanged_by_invertible_maps_of_the_source(stores, source):
    turn = np.random.default_rng(8).standard_normal((8, 8)).astype(np.float32)
    train, test = stores(
        extra=lambda arrays: {f"c#f@{s}": arrays[f"a#f@{s}"] @ turn * 30 - 4 for s in (1, 2)}
    )
    result = reconstruction.compute(
        train, test, target="t@1", sources=[source, source.replace("a", "c")], config=EXACT
    )
    np.testing.assert_allclose(
        result["train_info_bits"][0], result["train_info_bits"][1], rtol=1e-5
    )
    np.testing.assert_allclose(result["test_info_bits"][0], result["test_info_bits"][1], rtol=1e-4)


def test_independent_noise_has_no_information_within_its_interval(stores):
    train, test = stores(images=400)
    result = reconstruction.compute(train, test, target="t@1", sources=["b@1"])
    assert result["test_info_low"] < 0.002
    assert abs(result["test_info_bits"]) < 0.01


def test_interval_covers_the_true_information_at_its_nominal_level():
    """400 simulated studies of 60 images whose tokens share an image effect; 95 % nominal."""
    rng = np.random.default_rng(5)
    studies, images, tokens = 400, 60, 9
    truth = bits(0.5, 1.0)  # each token's error has mean 0.5, its null error mean 1
    hits = 0
    for study in range(studies):
        image = rng.gamma(4.0, 0.25, (2, images, 1))  # mean 1, shared by the tokens of an image
        token = rng.gamma(2.0, 0.5, (2, images, tokens))
        loss, null = (image * token).mean(2) * np.array([[0.5], [1.0]])
        low, high = interval(bootstrap(loss[None], null, resamples=200, seed=study))
        hits += low[0] <= truth <= high[0]
    assert 0.91 <= hits / studies <= 0.98


def test_target_without_variance_has_zero_bits(stores):
    train, test = stores(extra=lambda arrays: {"k#f@1": np.full_like(arrays["b#f@1"], 2.5)})
    result = reconstruction.compute(train, test, target="k@1", sources=["a@1"], reference="b@1")
    np.testing.assert_array_equal(result["train_info_bits"], 0)
    np.testing.assert_array_equal(result["test_info_bits"], 0)
    assert np.isnan(result["train_ratio"]).all()


def test_overfitting_is_said_and_the_automatic_ridge_cures_it(make_store):
    out = []
    for split, seed in (("train", 0), ("test", 50)):
        x = maps(30, 100, seed)
        out.append(make_store(split, {"x#f@1": x, "y#f@1": x[..., :3] + 2 * maps(30, 3, seed + 1)}))
    plain = reconstruction.compute(
        *out, target="y@1", sources=["x@1"], config=ReconstructionConfig(ridge=0)
    )
    assert any("overfits" in line for line in plain.attrs["warnings"])
    assert any("training tokens per source channel" in line for line in plain.attrs["warnings"])
    auto = reconstruction.compute(*out, target="y@1", sources=["x@1"])
    assert auto["test_info_bits"] > plain["test_info_bits"]
    assert auto["ridge"] > 0


def test_same_seed_same_interval_and_failed_images_are_left_out(make_store):
    arrays = {"x#f@1": maps(40, 3, 0), "y#f@1": maps(40, 3, 1)}
    train = make_store("train", arrays, failed={3: "unreadable", 20: "unreadable"})
    test = make_store("test", arrays)
    first, second = (
        reconstruction.compute(train, test, target="y@1", sources=["x@1"]) for _ in range(2)
    )
    assert first.attrs["train_images"] == 38
    assert first.identical(second)


def test_refusals(stores, make_store):
    train, test = stores(images=20)
    ask = {"target": "t@1", "sources": ["a@1"]}
    with pytest.raises(InputError, match="share 20 of 20 test images"):
        reconstruction.compute(train, train, **ask)
    with pytest.raises(InputError, match="does not hold z@1"):
        reconstruction.compute(train, test, **{**ask, "sources": ["z@1"]})
    with pytest.raises(InputError, match=r"source named twice: a#f@1"):
        reconstruction.compute(train, test, **{**ask, "sources": ["a@1", "a#f@1"]})
    with pytest.raises(InputError, match="no source to reconstruct from"):
        reconstruction.compute(train, test, **{**ask, "sources": []})
    with pytest.raises(InputError, match='expected "auto", 0 or a positive number'):
        ReconstructionConfig(ridge="best")


def test_token_grids_that_differ_are_pooled_in_a_line_or_refused_on_request(make_store, tmp_path):
    out = []
    for split, seed in (("train", 0), ("test", 50)):
        fine = maps(100, 3, seed, grid=(4, 4))
        coarse = fine.reshape(100, 2, 2, 2, 2, 3).mean((2, 4))
        out.append(make_store(split, {"x#f@1": fine, "y#f@1": coarse}))
    same = ReconstructionConfig(grid="same")
    with pytest.raises(InputError, match="grid='pool'"):
        reconstruction.compute(*out, target="y@1", sources=["x@1"], config=same)
    pool = ReconstructionConfig(ridge=0, moments=str(tmp_path / "moments.zarr"))
    result = reconstruction.compute(*out, target="y@1", sources=["x@1"], config=pool)
    assert result["test_loss"] < 1e-9
    assert result.attrs["notes"] == ["token maps are averaged to 2 x 2: x#f@1 has 4 x 4"]
    alone = reconstruction.compute(*out, target="x@1", sources=["x@1"], config=pool)
    assert alone["loss_map"].shape[1:] == (2, 2), "the grid of the stored training moments"
    assert not reconstruction.compute(*out, target="x@1", sources=["x@1"]).attrs["notes"]


def test_ratio_edge_cases():
    assert ratio([1.0, PERFECT], PERFECT).tolist() == [0.02, 1.0]
    assert np.isnan(ratio([1.0], 0.0)).all()
    table = pd.DataFrame({"bits": bits([0.5, 1.0, 2.0], 1.0)})
    assert table["bits"].tolist() == [1.0, 0.0, -1.0]


def test_scale_decomposition_equals_rows_of_the_parts(stores):
    train, test = stores()
    config = ReconstructionConfig(ridge=0, precision="float64", resamples=20, decompose=True)
    found = reconstruction.compute(
        train, test, target="t@1", sources=["a@1", "a@2", "a@1+2"], config=config
    )
    both = found.sel(source="a#f@1+2")
    rows = {
        name: found["test_info_bits"].sel(source=name).item() for name in found["source"].values
    }
    alone = [rows["a#f@1"], rows["a#f@2"]]
    np.testing.assert_allclose(both["alone"].sel(split="test"), alone, rtol=1e-9)
    np.testing.assert_allclose(both["together"].sel(split="test"), rows["a#f@1+2"], rtol=1e-9)
    np.testing.assert_allclose(
        both["unique"].sel(split="test"), rows["a#f@1+2"] - np.array(alone[::-1])
    )
    assert len(found["source"]) == 3
    assert np.isnan(found["together"].sel(source="a#f@1")).all()


def test_kept_moments_give_the_same_rows_without_reading_the_images_again(stores, tmp_path):
    train, test = stores()
    path = str(tmp_path / "moments.zarr")
    ask = {"target": "t@1", "sources": ["a@1+2"]}
    plain = reconstruction.compute(train, test, **ask)
    first = reconstruction.compute(train, test, **ask, config=ReconstructionConfig(moments=path))
    train.stream = lambda sources: iter(())  # nothing more to read
    second = reconstruction.compute(train, test, **ask, config=ReconstructionConfig(moments=path))
    for made in (first, second):
        pd.testing.assert_frame_equal(reconstruction.rows(made), reconstruction.rows(plain))


class Running:
    """A stream that computes what a store holds."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    @property
    def fingerprints(self):
        return recorded_images(self._store).fingerprints

    def stream(self, sources, *, done=None):
        return self._store.stream(sources)


def test_streams_give_the_rows_of_stores(stores):
    train, test = stores()
    ask = {"target": "t@1", "sources": ["a@1+2"], "config": EXACT}
    streamed = reconstruction.compute(Running(train), Running(test), **ask)
    stored = reconstruction.compute(train, test, **ask)
    pd.testing.assert_frame_equal(reconstruction.rows(streamed), reconstruction.rows(stored))


def test_incomplete_sources_are_refused(stores):
    train, test = stores(images=20)
    test.add_source("z#f@1", manifest={}, grid=(2, 2), channels=3, prefix=0, dtype="float32")
    train.add_source("z#f@1", manifest={}, grid=(2, 2), channels=3, prefix=0, dtype="float32")
    with pytest.raises(InputError, match="z#f@1.*(incomplete|missing|lacks)"):
        reconstruction.compute(train, test, target="t@1", sources=["z@1"])


def test_row_measures_beyond_the_paper(stores):
    train, test = stores()
    config = ReconstructionConfig(ridge=0, precision="float64", resamples=20, decompose=True)
    found = reconstruction.compute(train, test, target="t@1", sources=["a@1+2"], config=config)
    np.testing.assert_allclose(found["train_isotropic_bits"], found["train_info_bits"], rtol=1e-9)
    np.testing.assert_allclose(found["rank_info"][0, -1], found["train_info_bits"][0], rtol=1e-9)
    assert found.sizes["rank"] == 7
    x, y = (train.features(n).values.astype(float).reshape(800, -1) for n in ("a@1+2", "t@1"))
    x, y = x - x.mean(0), y - y.mean(0)
    error = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    expected = np.log2(np.linalg.det(y.T @ y) / np.linalg.det(error.T @ error)) / 6
    np.testing.assert_allclose(found["train_full_bits"], expected, rtol=1e-9)
