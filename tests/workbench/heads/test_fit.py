"""Decoders learn what tokens tell, by heart and in general, and nothing from permuted maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.configs import DenseConfig
from feature_store import InputError
from workbench.heads import fit
from workbench.heads.config import DecoderConfig
from workbench.heads.images import TokenImages, survey
from workbench.training.config import TrainingConfig

SOURCE = "toy:a#b@224"
SMALL = {"hidden": 32, "stride": 2, "batch": 4, "layers": 1, "queries": 8, "points": 256}


@pytest.fixture(autouse=True)
def _maps_of_memory(monkeypatch):
    monkeypatch.setattr(fit, "maps_sha256", lambda store, task: "")


def needs_transformers(head):
    if head in ("mask2former", "upernet"):
        pytest.importorskip("transformers", reason="install the extra: decoders")


def planted(make_store, name, count, seed=0):
    """Noisy one-hot classes in 4 x 4 tokens; masks of whole tokens, 8 pixels a side."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(3, (count, 4, 4), p=[0.7, 0.15, 0.15])
    tokens = 3 * np.eye(6)[classes] + 0.3 * rng.normal(size=(count, 4, 4, 6))
    store = make_store(name, {SOURCE: tokens.astype(np.float32)})
    return store, classes.repeat(8, 1).repeat(8, 2).astype(np.int32)


def run(train, test, task, head, tmp_path, iterations, every=200, **more):
    return fit.compute(
        train[0], test[0], sources=[SOURCE], targets=(train[1], test[1]),
        config=DenseConfig(task=task, resamples=5, keep_shared=True),
        decoder=DecoderConfig(**{**SMALL, "head": head, **more}),
        training=TrainingConfig(iterations=iterations, checkpoint_every=every),
        folder=tmp_path / "runs", log=print,
    )  # fmt: skip


@pytest.mark.parametrize("head", ["upernet", "mask2former"])
def test_four_images_are_learnt_by_heart(make_store, tmp_path, head):
    needs_transformers(head)
    (train, masks), (test, _) = (planted(make_store, name, 4) for name in ("train", "test"))
    both = (train, masks), (test, masks)
    table = run(*both, "segmentation", head, tmp_path, 80, learning_rate=3e-3)
    assert table["miou"][0] > 0.95
    assert (table["head"][0], table["iterations"][0]) == (head, 80)
    assert table["head_params"][0] > 1000
    assert table["low"][0] <= table["miou"][0] <= table["high"][0]


@pytest.mark.parametrize("head", ["vpd", "dpt"])
def test_depth_of_four_images_is_learnt_by_heart(make_store, tmp_path, head):
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(4, 4, 4, 6)).astype(np.float32)
    row, col = np.mgrid[:32, :32] / 32
    depth = (2 + np.arange(4)[:, None, None] + row + 0.5 * col).astype(np.float32)
    depth[0, :5] = np.nan
    depth[1, :, 9] = np.inf
    stores = [make_store(name, {SOURCE: tokens}) for name in ("train", "test")]
    known = np.isfinite(depth)
    truth = np.where(known, depth, np.nan)
    both = (stores[0], truth), (stores[1], truth)
    table = run(*both, "depth", head, tmp_path, 80, stride=8, learning_rate=1e-2)
    assert table["rmse"][0] / depth[known].mean() < 0.02


def test_masks_of_other_images_give_chance(make_store, tmp_path):
    """Without what tokens tell, the most frequent class (70 %) is the best guess: 0.7 / 3."""
    needs_transformers("upernet")
    train, test = (planted(make_store, n, c, s) for n, c, s in (("a", 24, 0), ("b", 8, 1)))
    mixed = (train[0], np.roll(train[1], 1, axis=0))
    chance, learnt = (
        run(pair, test, "segmentation", "upernet", tmp_path / str(k), 40)["miou"][0]
        for k, pair in enumerate((mixed, train))
    )
    assert chance < 0.35
    assert learnt > 0.6


def test_a_killed_run_ends_with_the_same_numbers(make_store, tmp_path, monkeypatch):
    needs_transformers("upernet")
    (train, masks), (test, _) = (planted(make_store, name, 4) for name in ("train", "test"))
    given = (train, masks), (test, masks), "segmentation", "upernet"
    whole = run(*given, tmp_path / "whole", 5, every=2)
    read, batches = TokenImages.batch, []

    def killed(self, rows):
        batches.append(rows)
        if len(batches) == 4:
            raise RuntimeError("killed")
        return read(self, rows)

    monkeypatch.setattr(TokenImages, "batch", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run(*given, tmp_path / "again", 5, every=2)
    monkeypatch.setattr(TokenImages, "batch", read)
    assert list((tmp_path / "again").glob("runs/*/step_0000000002.*"))
    assert run(*given, tmp_path / "again", 5, every=2).to_dict() == whole.to_dict()


def test_images_without_a_known_pixel_teach_nothing(make_store, tmp_path):
    store, masks = planted(make_store, "train", 5)
    masks[2] = -1
    images = TokenImages(store, SOURCE, "concat", masks)
    found = survey(images)
    assert found.rows.tolist() == [0, 1, 3, 4]
    assert (found.grid, found.pixels, found.largest) == ((4, 4), (32, 32), 2)
    flat = store.features(SOURCE).values.reshape(-1, 6).astype(float)
    np.testing.assert_allclose(found.mean, flat.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.spread, flat.std(0), atol=1e-6)
    masks[:] = -1
    with pytest.raises(InputError, match="no known pixel"):
        survey(images)


def test_batches_hold_the_tokens_and_maps_of_their_rows(make_store):
    store, masks = planted(make_store, "train", 20)
    tokens, truth = TokenImages(store, SOURCE, "concat", masks).batch(np.array([17, 2, 17]))
    expected = store.features(SOURCE).values[[17, 2, 17]].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(tokens.numpy(), expected)
    np.testing.assert_array_equal(truth.numpy(), masks[[17, 2, 17]])
    assert (tokens.dtype, truth.dtype) == (torch.float32, torch.int64)


def test_repeating_a_finished_run_changes_nothing(make_store, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    store = make_store("train", {SOURCE: rng.normal(size=(4, 4, 4, 6)).astype(np.float32)})
    depth = rng.uniform(1, 3, (4, 32, 32)).astype(np.float32)
    both = ((store, depth), (make_store("test", {SOURCE: store.features(SOURCE).values}), depth))
    first, again = (run(*both, "depth", "vpd", tmp_path, 3) for _ in range(2))
    assert first.to_dict() == again.to_dict()
    monkeypatch.setattr(fit, "survey", None)  # refused before the tokens are read
    with pytest.raises(InputError, match="hidden was 32 there and is 64"):
        run(*both, "depth", "vpd", tmp_path, 3, hidden=64)


def test_a_head_of_the_other_task_is_refused():
    with pytest.raises(InputError, match=r"head vpd .* linear, mask2former, upernet"):
        DecoderConfig(head="vpd").check_task("segmentation")
    with pytest.raises(InputError, match="hidden must be a multiple of 32, got 40"):
        DecoderConfig(hidden=40)
