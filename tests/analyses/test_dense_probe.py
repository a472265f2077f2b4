"""Dense probes: scores by hand, a planted linear map is recovered, images stay apart."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import dense_probe
from analyses.dense_maps import cells, majority
from analyses.dense_probe import DenseConfig, depth_scores, segmentation_scores
from feature_store import InputError

RNG = np.random.default_rng(0)
SOURCE = "toy:a#b@224"
CONFIG = DenseConfig(resamples=20)
DEPTH = DenseConfig(task="depth", resamples=20)


def test_miou_and_pixel_accuracy_by_hand():
    # Truth and prediction of one 2 x 3 map; the ignored pixel counts nowhere.
    truth = np.array([[[0, 0, 1], [1, 1, -1]]])
    predicted = np.array([[0, 1, 1], [1, 0, 2]])
    logits = np.eye(3, dtype=np.float32)[predicted][None]
    scores = segmentation_scores(logits, truth, CONFIG)
    # class 0: 1 hit, union 3; class 1: 2 hits, union 4; class 2 does not occur.
    assert scores["miou"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert scores["pixel_accuracy"] == pytest.approx(3 / 5)


def test_rmse_and_delta_by_hand():
    truth = np.array([[[1.0, 2.0, np.nan, 4.0]]])
    depth = np.array([[[1.2], [1.0], [9.0], [4.0]]], np.float32)[None]
    scores = depth_scores(depth, truth, DEPTH)
    assert scores["rmse"] == pytest.approx(np.sqrt((0.04 + 1 + 0) / 3))
    assert scores["delta1"] == pytest.approx(2 / 3)
    assert scores["low"] == scores["high"] == pytest.approx(scores["rmse"])  # one image


def test_cells_and_majority_by_hand():
    maps = np.array([[[0, 0, 1, 1], [0, 2, -1, 1], [-1, -1, 2, 2], [-1, -1, 2, 0]]])
    assert cells(maps, (2, 2))[0, 0, 1].tolist() == [1, 1, -1, 1]
    assert majority(maps, (2, 2), 3)[0].tolist() == [[0, 1], [-1, 2]]
    with pytest.raises(InputError, match="do not divide into"):
        cells(maps, (3, 2))


def planted(make_store, count, name):
    """Tokens that hold one-hot classes and a linear code of depth, noisily and rotated."""
    classes = RNG.integers(0, 3, (count, 4, 4))
    depth = RNG.uniform(1, 5, (count, 4, 4))
    turn, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 6)))
    code = np.concatenate(
        [3 * np.eye(3)[classes], depth[..., None], np.zeros((count, 4, 4, 2))], -1
    )
    tokens = (code + 0.05 * RNG.normal(size=code.shape)) @ turn
    store = make_store(name, {SOURCE: tokens.astype(np.float32)})
    return store, classes.repeat(2, 1).repeat(2, 2), depth.repeat(2, 1).repeat(2, 2)


def test_planted_map_is_recovered(make_store):
    train, test = (planted(make_store, n, name) for n, name in ((30, "train"), (10, "test")))
    stores = train[0], test[0]
    table = dense_probe.compute(
        *stores, sources=[SOURCE], targets=(train[1], test[1]), config=CONFIG
    )
    # Enlarging bilinearly blurs the class borders; nearly all pixels are right all the same.
    assert table["pixel_accuracy"][0] > 0.9
    assert table["low"][0] <= table["miou"][0] <= table["high"][0]
    table = dense_probe.compute(
        *stores, sources=[SOURCE], targets=(train[2], test[2]), config=DEPTH
    )
    blurred = depth_scores(
        test[2][:, ::2, ::2, None].astype(np.float32), test[2], DEPTH
    )  # what exact token depths would give
    assert table["rmse"][0] == pytest.approx(blurred["rmse"], abs=0.05)


def test_sources_of_whole_images_and_summed_scales_are_probed(make_store):
    """Table 11 and 12: what carries the classes decides, `448` cut in crops or `448.whole`."""
    names = ["toy:a#b@224", "toy:a#b@448", "toy:a#b@448.whole"]
    stores, targets = [], []
    for split, count in (("train", 30), ("test", 10)):
        classes = RNG.integers(0, 3, (count, 4, 4))
        code = 3 * np.eye(3)[classes] + 0.05 * RNG.normal(size=(count, 4, 4, 3))
        noise = RNG.normal(size=(2, count, 4, 4, 3))
        arrays = dict(zip(names, [noise[0], noise[1], code - noise[0]], strict=True))
        stores.append(make_store(split, arrays))
        targets.append(classes.repeat(2, 1).repeat(2, 2))
    asked = {"sources": ["toy:a@224+448", "toy:a@224+448.whole"], "targets": tuple(targets)}
    for merge in ("concat", "add"):
        config = DenseConfig(merge=merge, resamples=20)
        split_up, whole = dense_probe.compute(*stores, **asked, config=config)["pixel_accuracy"]
        assert split_up < 0.6 < 0.9 < whole
    assert dense_probe.compute(*stores, **asked, config=config)["channels"].tolist() == [3, 3]


def test_shuffled_targets_teach_nothing(make_store):
    train, test = (planted(make_store, n, name) for n, name in ((30, "train"), (10, "test")))
    table = dense_probe.compute(
        train[0], test[0], sources=[SOURCE], targets=(train[2][::-1], test[2][::-1]), config=DEPTH
    )
    assert table["rmse"][0] == pytest.approx(test[2].std(), rel=0.1)


def test_refusals(make_store):
    store, classes, depth = planted(make_store, 4, "s")
    with pytest.raises(InputError, match=r"needs \(4, row, col\)"):
        dense_probe.compute(store, store, sources=[SOURCE], targets=(classes[:3], classes))
    with pytest.raises(InputError, match="fewer than two classes"):
        dense_probe.compute(store, store, sources=[SOURCE], targets=(0 * classes, classes))
    nothing = (np.full_like(depth, np.nan), depth)
    with pytest.raises(InputError, match="no known pixel"):
        dense_probe.compute(store, store, sources=[SOURCE], targets=nothing, config=DEPTH)
    with pytest.raises(InputError, match="choose segmentation or depth"):
        DenseConfig(task="normals")
