"""Dense probes: scores by hand, a planted linear map is recovered, memory is bounded."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import confusion_matrix

import feature_store
from analyses import dense_probe
from analyses.dense_probe import DenseConfig
from analyses.reading.labelled_tokens import draw
from analyses.reading.target_maps import cells, class_counts, depth_sums, majority, mean_depth
from analyses.statistics.dense_scores import PerImage, count_pixels, scores
from feature_store import InputError

RNG = np.random.default_rng(0)
SOURCE = "toy:a#b@224"
CONFIG = DenseConfig(resamples=20)
DEPTH = DenseConfig(task="depth", resamples=20)


def test_miou_and_pixel_accuracy_by_hand():
    # Truth and prediction of one 2 x 3 map; the ignored pixel counts nowhere.
    truth = np.array([[0, 0, 1], [1, 1, -1]])
    predicted = np.array([[0, 1, 1], [1, 0, 2]])
    counts = class_counts(np.eye(3, dtype=np.float32)[predicted], truth)
    assert counts.tolist() == [[1, 2, 0], [2, 3, 0], [2, 3, 0]]
    found, draws = scores([counts], np.arange(1), 1, CONFIG)
    # class 0: 1 hit, union 3; class 1: 2 hits, union 4; class 2 does not occur.
    assert found["miou"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert found["pixel_accuracy"] == pytest.approx(3 / 5)
    assert draws == [found["miou"]] * 20  # one image


def test_miou_equals_that_of_scikit_learn_s_confusion_matrix():
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 4, (3, 6, 5))
    predicted = rng.integers(0, 5, truth.shape)  # class 4 never occurs in the truth
    logits = np.eye(5, dtype=np.float32)[predicted]
    sums = [class_counts(*pair) for pair in zip(logits, truth, strict=True)]
    known = truth >= 0
    matrix = confusion_matrix(truth[known], predicted[known], labels=range(5))
    hits = matrix.diagonal()
    iou = (hits / (matrix.sum(0) + matrix.sum(1) - hits))[:4]
    found, _ = scores(sums, np.arange(3), 3, CONFIG)
    assert found["miou"] == pytest.approx(iou.mean())
    by_class = PerImage(np.arange(3), sums).class_iou()
    np.testing.assert_allclose(by_class, [*iou, np.nan])


def test_images_with_classes_that_training_lacks_are_added_up():
    known, beyond = (
        class_counts(np.ones((1, 2, 2), np.float32), np.array([[0, c]])) for c in (1, 3)
    )
    found, _ = scores([known, beyond], np.arange(2), 2, CONFIG)
    # Always class 0: 2 hits of 4 pixels; classes 1 and 3 occur and are missed.
    assert found["miou"] == pytest.approx((2 / 4 + 0 + 0) / 3)


def test_rmse_and_delta_by_hand():
    truth = np.array([[1.0, 2.0, np.nan, 4.0]])
    depth = np.array([[[1.2], [1.0], [9.0], [4.0]]], np.float32)
    found, _ = scores([depth_sums(depth, truth)], np.arange(1), 1, DEPTH)
    assert found["rmse"] == pytest.approx(np.sqrt((0.04 + 1 + 0) / 3))
    assert found["delta1"] == pytest.approx(2 / 3)
    assert found["low"] == found["high"] == pytest.approx(found["rmse"])  # one image


def test_means_of_the_images_own_errors_by_hand():
    truths = np.array([[1.0, 2.0, np.nan, 4.0]]), np.array([[3.0, np.nan]]), np.full((1, 2), np.nan)
    depths = [np.ones((*truth.shape, 1), np.float32) for truth in truths]
    config = DenseConfig(task="depth", resamples=20, averaged_over="images")
    sums = [count_pixels(*pair, config) for pair in zip(depths, truths, strict=True)]
    found, _ = scores(sums, np.arange(3), 3, config)
    assert found["rmse"] == pytest.approx((np.sqrt((0 + 1 + 9) / 3) + 2) / 2)
    assert found["delta1"] == pytest.approx((1 / 3 + 0) / 2)
    with pytest.raises(InputError, match="no known pixel"):
        scores(sums[2:], np.arange(1), 1, config)


def test_caps_and_median_scaling_of_depth_by_hand():
    truth = np.array([[1.0, 2.0, 4.0, 9.0]])
    depth = np.array([[[2.0], [4.0], [10.0], [1.0]]], np.float32)
    # The cap of 5 leaves 1, 2 and 4, and cuts 10 to 5.
    assert depth_sums(depth, truth, cap=5).ravel().tolist() == [1 + 4 + 1, 0, 3]
    # Medians 2 and 4: the predictions become 1, 2 and 5; 5 is not within a factor of 1.25 of 4.
    assert depth_sums(depth, truth, 5, True).ravel().tolist() == [1, 2, 3]
    assert depth_sums(depth, truth, cap=0.5).ravel().tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="depth_cap is -1; expected at least"):
        DenseConfig(depth_cap=-1)


def test_what_pixels_teach_their_token_by_hand():
    pixels = np.array([[0, 0, 1, 1], [0, 2, -1, 1], [-1, -1, 2, 2], [-1, -1, 2, 0]])
    under = cells(pixels, (2, 2))
    assert under[1].tolist() == [1, 1, -1, 1]
    np.testing.assert_array_equal(majority(under), [0, 1, np.nan, 2])
    np.testing.assert_array_equal(majority(under[2:3]), [np.nan])
    metres = np.where(under < 0, np.nan, under)
    np.testing.assert_allclose(mean_depth(metres), [0.5, 1, np.nan, 1.5])
    np.testing.assert_allclose(
        mean_depth(np.array([[2.0, np.inf], [-np.inf, np.nan]])), [2, np.nan]
    )
    # 4 rows of 3 tokens become 6: rows 0, 1, 1, 2, 3 and 3 of the map.
    assert cells(pixels, (3, 2))[0].tolist() == [0, 0, 0, 2]
    assert cells(pixels, (3, 2))[5].tolist() == [2, 0, 2, 0]
    with pytest.raises(InputError, match="smaller than"):
        cells(pixels, (5, 2))
    with pytest.raises(InputError, match=r"shape \(1, 4, 4\); expected"):
        cells(pixels[None], (2, 2))


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
    # What exact token depths would give:
    sums = [depth_sums(truth[::2, ::2, None].astype(np.float32), truth) for truth in test[2]]
    blurred, _ = scores(sums, np.arange(10), 10, DEPTH)
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


def test_all_tokens_at_once_give_the_same_heads(make_store):
    """Oracle: scikit-learn on whole arrays, where no token is left out."""
    arrays = {SOURCE: RNG.normal(size=(20, 4, 4, 6)).astype(np.float32)}
    store = make_store("whole", arrays)
    depth = arrays[SOURCE][..., 0] + RNG.uniform(1, 5, (20, 4, 4))
    depth[RNG.random(depth.shape) < 0.3] = np.nan
    classes = np.where(np.isnan(depth), -1, depth > 3).astype(int)
    asked = {"merge": "concat", "limit": 10**6, "seed": 0}
    x, y = arrays[SOURCE].reshape(-1, 6), depth.ravel()
    seen = draw(store, SOURCE, depth, mean_depth, **asked)
    np.testing.assert_array_equal(seen.x, x[~np.isnan(y)])
    np.testing.assert_array_equal(seen.y, y[~np.isnan(y)])
    assert (seen.images, seen.per_image) == (20, 16)
    head, ridge = dense_probe._fit_depth(seen, DenseConfig(task="depth", ridge=0.1), print)
    scatter = np.cov(seen.x.T, bias=True) * len(seen.y)
    oracle = Ridge(alpha=0.1 * np.trace(scatter) / 6).fit(seen.x.astype(float), seen.y)
    np.testing.assert_allclose(head.weight[:, 0], oracle.coef_, rtol=1e-6)
    assert (head.bias[0], ridge) == (pytest.approx(oracle.intercept_), 0.1)
    table = dense_probe.compute(
        store, make_store("other", arrays), sources=[SOURCE], targets=(classes, classes),
        config=DenseConfig(l2=0.01, resamples=2),
    )  # fmt: skip
    z, labels = seen.x / seen.x.std(0), classes.ravel()[~np.isnan(y)]
    judge = LogisticRegression(C=1 / (0.01 * len(z)), tol=1e-8).fit(z, labels)
    one = judge.decision_function(x / seen.x.std(0)).reshape(20, 4, 4) / 2
    logits = np.stack([-one, one], -1).astype(np.float32)
    counts = [class_counts(*pair) for pair in zip(logits, classes, strict=True)]
    expected, _ = scores(counts, np.arange(20), 20, CONFIG)
    assert table["pixel_accuracy"][0] == pytest.approx(expected["pixel_accuracy"], abs=0.01)


def test_drawn_tokens_are_few_seeded_and_the_same_for_every_source(make_store):
    names = [SOURCE, "toy:c#b@224"]
    place = np.arange(30 * 16, dtype=np.float32).reshape(30, 4, 4, 1)  # every token says where
    store = make_store("s", {names[0]: place, names[1]: place.repeat(3, -1)})
    asked = {"target": mean_depth, "merge": "concat"}
    first = draw(store, names[0], place[..., 0], limit=100, seed=0, **asked)
    assert (first.images, first.per_image, len(first.y)) == (30, 3, 90)
    np.testing.assert_array_equal(first.x[:, 0], first.y)
    np.testing.assert_array_equal(first.image, np.arange(30).repeat(3))
    other = draw(store, names[1], place[..., 0], limit=100, seed=0, **asked)
    np.testing.assert_array_equal(first.y, other.y)
    assert not np.array_equal(
        first.y, draw(store, names[0], place[..., 0], limit=100, seed=1, **asked).y
    )
    few = draw(store, names[0], place[..., 0], limit=20, seed=0, **asked)
    assert (few.images, few.per_image, len(few.y)) == (20, 1, 20)


class OnTheFly:
    """Maps that exist only while they are asked for."""

    def __init__(self, count, depth):
        self.count, self.depth = count, depth

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        pixels = np.random.default_rng(row).integers(0, 3, (64, 64))
        return pixels + 1.0 if self.depth else pixels


@pytest.mark.parametrize("config", [CONFIG, DEPTH])
def test_memory_does_not_grow_with_the_images(make_store, config):
    config = DenseConfig(task=config.task, resamples=2, train_tokens=512, l2=0.1, ridge=0.1)

    def peak(count):
        arrays = {SOURCE: RNG.normal(size=(count, 8, 8, 32)).astype(np.float32)}
        stores = [make_store(f"{split}{count}", arrays) for split in ("train", "test")]
        maps = OnTheFly(count, config.task == "depth")
        del arrays
        tracemalloc.start()
        table = dense_probe.compute(*stores, sources=[SOURCE], targets=(maps, maps), config=config)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert table["tokens_per_image"][0] == 512 // count
        return found

    peak(16)  # imports
    small, large = peak(64), peak(256)
    # All tokens of 256 images would be 2 MiB, their maps 8 MiB, those enlarged 12 MiB or more.
    assert large < small + 0.25 * 2**20


def test_each_source_leaves_out_the_images_that_failed_in_it(make_store):
    """The store's status speaks of the source written last only."""
    names = [SOURCE, "toy:c#b@224"]
    stores, targets = [], []
    for split, count in (("train", 12), ("test", 10)):
        array = RNG.normal(size=(count, 4, 4, 6)).astype(np.float32)
        store = make_store(split, {names[0]: array}, failed={3: "cut"})
        writer = store.add_source(names[1], manifest={}, grid=(4, 4), channels=6, dtype="float32")
        (shard,) = writer.missing()
        writer.commit(shard, array)
        stores.append(feature_store.open(store.path))
        targets.append(array[..., 0] + 3.0)
        targets[-1][3] = np.nan  # so that both sources have the same targets left
    table = dense_probe.compute(*stores, sources=names, targets=tuple(targets), config=DEPTH)
    assert table["train_images"].tolist() == [11, 12]
    assert table["test_images"].tolist() == [9, 10]
    first, second = (table.attrs["resampled"][name] for name in names)
    np.testing.assert_allclose(first, second, rtol=1e-4)  # still paired
    assert np.std(first) > 0


@pytest.mark.parametrize("config", [CONFIG, DEPTH])
def test_targets_in_one_image_leave_none_to_choose_the_penalty(make_store, config):
    train, test = (planted(make_store, n, name) for n, name in ((4, "train"), (3, "test")))
    unknown, which = (-1, 1) if config.task == "segmentation" else (np.nan, 2)
    maps = train[which].copy()
    maps[1:] = unknown
    asked = {"sources": [SOURCE], "targets": (maps, test[which])}
    penalty = "ridge" if config.task == "depth" else "l2"
    with pytest.raises(InputError, match=f"one training image.*give {penalty}"):
        dense_probe.compute(train[0], test[0], **asked, config=config)
    given = dense_probe.compute(
        train[0],
        test[0],
        **asked,
        config=DenseConfig(task=config.task, resamples=2, **{penalty: 0.1}),
    )
    assert given[penalty][0] == 0.1


def test_a_class_in_one_fold_is_never_held_out():
    folds, labels = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 2, 0])
    assert dense_probe._known_elsewhere(folds, labels).tolist() == [0, -1, 1, -1, 2]
    with pytest.raises(InputError, match="no class lies in two training images"):
        dense_probe._known_elsewhere(np.array([0, 1]), np.array([0, 1]))


def test_refusals(make_store):
    store, classes, depth = planted(make_store, 4, "s")
    test, _, _ = planted(make_store, 4, "t")
    with pytest.raises(InputError, match="3 target maps.* 4"):
        dense_probe.compute(store, test, sources=[SOURCE], targets=(classes[:3], classes))
    with pytest.raises(InputError, match="fewer than two classes"):
        dense_probe.compute(store, test, sources=[SOURCE], targets=(0 * classes, classes))
    nothing = (np.full_like(depth, np.nan), depth)
    with pytest.raises(InputError, match="no known pixel"):
        dense_probe.compute(store, test, sources=[SOURCE], targets=nothing, config=DEPTH)
    asked = {"sources": [SOURCE], "config": DEPTH}
    with pytest.raises(InputError, match="the test maps hold no known pixel"):
        dense_probe.compute(store, test, targets=nothing[::-1], **asked)
    with pytest.raises(InputError, match="expected \\(row, col\\)"):
        dense_probe.compute(store, test, targets=(depth[..., None], depth), **asked)
    unread = make_store("unread", {SOURCE: np.ones((2, 4, 4, 6))}, failed={0: "cut", 1: "cut"})
    with pytest.raises(InputError, match="no test image is readable"):
        dense_probe.compute(store, unread, targets=(depth, depth[:2]), **asked)
    one = make_store("one", {SOURCE: np.ones((1, 4, 4, 6))})
    with pytest.raises(InputError, match="one training image.*give ridge"):
        dense_probe.compute(one, test, targets=(depth[:1], depth), **asked)
    with pytest.raises(InputError, match="share 4 of 4 test images"):
        dense_probe.compute(store, store, targets=(depth, depth), **asked)
    with pytest.raises(InputError, match="choose segmentation or depth"):
        DenseConfig(task="normals")
    with pytest.raises(InputError, match="train_tokens.* 0"):
        DenseConfig(train_tokens=0)
    for field in ("l2", "ridge"):
        with pytest.raises(InputError, match=f"{field}.* -1"):
            DenseConfig(**{field: -1})
    with pytest.raises(InputError, match="folds is 1; expected at least 2"):
        DenseConfig(folds=1)
    with pytest.raises(InputError, match="resamples is 0; expected at least 1"):
        DenseConfig(resamples=0)


def test_a_subset_of_tokens_is_no_map(tmp_path):
    stores = []
    for name in ("s", "t"):
        store = feature_store.create(tmp_path / name, dataset=name, image_ids=["a", "b"])
        writer = store.add_source("toy:x#b@224.t8", manifest={}, grid=(4, 4), channels=3, keep=8)
        for shard in writer.missing():
            writer.commit(shard, np.zeros((2, 4, 4, 3), np.float32))
        stores.append(store)
    maps = np.ones((2, 4, 4))
    with pytest.raises(InputError, match="keeps 8 of 16 token positions.*without --tokens-per-"):
        dense_probe.compute(*stores, sources=["toy:x#b@224.t8"], targets=(maps, maps), config=DEPTH)
