"""Linear probe: known accuracies, class bookkeeping, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import probe
from analyses.linear.sgd import MinibatchConfig
from analyses.probe import ProbeConfig, stratified_folds
from analyses.reading.labels import unseen_lines
from analyses.statistics.bootstrap import wilson
from feature_store import InputError

SOURCE = "toy:a#blocks@224"
NAMES = ["ant", "bee", "cat"]


def maps(labels, *, noise, seed, classes=3):
    """Token maps whose mean is the label's unit vector plus noise: (image, 2, 2, channel)."""
    rng = np.random.default_rng(seed)
    centres = 3 * np.eye(classes, 6)[labels]
    tokens = centres[:, None, None] + noise * rng.normal(size=(len(labels), 2, 2, 6))
    return {SOURCE: tokens.astype(np.float32)}


@pytest.fixture
def stores(make_store):
    """Training and test store with the given noise and labels."""

    def make(noise=0.5, train=None, test=None, names=(NAMES, NAMES), failed=None):
        train = np.arange(90) % 3 if train is None else train
        test = np.arange(60) % 3 if test is None else test
        return (
            make_store("train", maps(train, noise=noise, seed=1), labels=train,
                       label_names=names[0], failed=failed),
            make_store("test", maps(test, noise=noise, seed=2), labels=test,
                       label_names=names[1]),
        )  # fmt: skip

    return make


def test_separable_classes_are_told_apart(stores):
    (row,) = probe.compute(*stores(), sources=[SOURCE]).to_dict("records")
    assert row["train_accuracy"] == row["test_accuracy"] == 1
    assert row["high"] == pytest.approx(1)
    assert row["low"] == pytest.approx(wilson(60, 60)[0])
    assert row["train_loss"] < 0.01
    assert row["converged"]
    assert (row["classes"], row["channels"], row["train_images"]) == (3, 6, 90)


def test_draws_are_those_of_the_hits_and_the_same_in_separate_calls(stores):
    pair = stores(noise=4)
    other = "toy:a#blocks@448"
    for store, seed in zip(pair, (1, 2), strict=True):
        writer = store.add_source(other, manifest={}, grid=(2, 2), channels=6, dtype="float32")
        array = maps(store.labels, noise=8, seed=seed)[SOURCE]
        for shard in writer.missing():
            writer.commit(shard, array[writer.rows(shard).start : writer.rows(shard).stop])
    together = probe.compute(*pair, sources=[SOURCE, other])
    for row in together.to_dict("records"):
        draws = np.array(together.attrs["resampled"][row["source"]])
        p = row["test_accuracy"]
        assert 0.3 < p < 0.95
        assert draws.mean() == pytest.approx(p, abs=0.01)
        assert draws.std() == pytest.approx(np.sqrt(p * (1 - p) / 60), rel=0.1)
        alone = probe.compute(*pair, sources=[row["source"]])
        assert alone.attrs["resampled"][row["source"]] == draws.tolist()


def test_random_labels_stay_at_chance(make_store):
    rng = np.random.default_rng(0)
    split = []
    for name, count in (("train", 300), ("test", 600)):
        array = rng.normal(size=(count, 1, 1, 8)).astype(np.float32)
        labels = rng.integers(0, 3, count)
        split.append(make_store(name, {SOURCE: array}, labels=labels, label_names=NAMES))
    table = probe.compute(*split, sources=[SOURCE])
    assert table["low"][0] < 1 / 3 < table["high"][0]
    # Nothing can be learnt: the chosen penalty leaves the loss near that of the class frequencies.
    assert table["train_loss"][0] == pytest.approx(np.log(3), abs=0.05)


def test_order_scale_and_offset_of_the_channels_change_nothing(make_store):
    rng = np.random.default_rng(3)
    labels = np.arange(120) % 3
    x = rng.normal(size=(120, 1, 1, 4)) + np.eye(3, 4)[labels][:, None, None]
    shifted = 10 * x[..., ::-1] - 5  # permutation, scale and offset: standardising removes them
    tables = []
    for name, array in (("a", x), ("b", shifted)):
        split = [
            make_store(f"{name}{n}", {SOURCE: array[n::2].astype(np.float32)},
                       labels=labels[n::2], label_names=NAMES)
            for n in (0, 1)
        ]  # fmt: skip
        tables.append(probe.compute(*split, sources=[SOURCE], config=ProbeConfig(l2=0.1)))
    for column in ("train_loss", "test_loss", "test_accuracy"):
        assert tables[0][column][0] == pytest.approx(tables[1][column][0], abs=1e-5)


def test_classes_are_matched_by_name(make_store, stores):
    train, _ = stores()
    truth = np.arange(60) % 3
    # The test store numbers the same classes differently: ant = 1, bee = 2, cat = 0.
    test = make_store(
        "renumbered",
        maps(truth, noise=0.5, seed=2),
        labels=(truth + 1) % 3,
        label_names=["cat", "ant", "bee"],
    )
    assert probe.compute(train, test, sources=[SOURCE])["test_accuracy"][0] == 1


def test_unlabelled_and_failed_images_are_left_out(stores):
    train = np.arange(90) % 3
    train[:10] = -1
    table = probe.compute(*stores(train=train, failed={30: "truncated"}), sources=[SOURCE])
    assert table["train_images"][0] == 79


def test_class_that_training_lacks_counts_as_errors(stores):
    train = np.arange(90) % 2
    table = probe.compute(*stores(train=train), sources=[SOURCE])
    assert table["classes"][0] == 2
    assert table["test_accuracy"][0] == pytest.approx(2 / 3)
    assert table["test_loss"][0] == np.inf
    assert table.attrs["unseen_classes"] == {"cat": 20}
    (line,) = unseen_lines(table.attrs["unseen_classes"])
    assert "'cat' (20)" in line
    assert unseen_lines({}) == []


def test_paper_recipe_learns_and_depends_on_the_seed_only(stores):
    config = ProbeConfig(recipe="paper", minibatch=MinibatchConfig(learning_rate=0.05, batch=16))
    first, second = (
        probe.compute(*stores_pair, sources=[SOURCE], config=config)
        for stores_pair in [stores()] * 2
    )
    assert first["test_accuracy"][0] == 1
    assert np.isnan(first["l2"][0])
    assert first["train_loss"][0] == second["train_loss"][0]


def test_published_recipe_is_the_default_of_its_config():
    config = MinibatchConfig()
    assert (config.epochs, config.learning_rate, config.batch) == (30, 5e-4, 512)


def test_folds_are_stratified_and_spare_singletons():
    labels = np.array([0] * 10 + [1] * 5 + [2])
    folds = stratified_folds(labels, 5, seed=0)
    assert folds[-1] == -1
    assert [np.bincount(folds[labels == c]).tolist() for c in (0, 1)] == [[2] * 5, [1] * 5]
    with pytest.raises(InputError, match="no class has two training images"):
        stratified_folds(np.arange(4), 5, seed=0)
    assert set(stratified_folds(np.array([0, 0, 1]), 5, seed=0)) == {-1, 0, 1}


def test_no_source_is_refused(stores):
    with pytest.raises(InputError, match="name at least one"):
        probe.compute(*stores(), sources=[])


def test_store_without_labels_is_told_what_works(stores, make_store):
    _, test = stores()
    bare = make_store("bare", maps(np.zeros(9, int), noise=1, seed=0))
    with pytest.raises(InputError, match="has no labels.*reconstruct, similarity, memorize"):
        probe.compute(bare, test, sources=[SOURCE])


def test_single_class_is_refused(stores):
    with pytest.raises(InputError, match="single class 'ant'; a probe needs at least two"):
        probe.compute(*stores(train=np.zeros(90, int)), sources=[SOURCE])


def test_test_images_of_other_classes_only_are_refused(stores):
    split = stores(names=(NAMES, ["owl", "fox", "cow"]))
    with pytest.raises(InputError, match="no class of the test images.*has 'owl'.*has 'ant'"):
        probe.compute(*split, sources=[SOURCE])


def test_shared_images_are_refused(stores):
    train, _ = stores()
    with pytest.raises(InputError, match="share 90 of 90 test images"):
        probe.compute(train, train, sources=[SOURCE])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "sgd"}, "choose converged or paper"),
        ({"folds": 1}, "folds is 1; expected at least 2"),
        ({"confidence": 95}, "expected a number like 0.95"),
    ],
)
def test_config_refusals(options, message):
    with pytest.raises(InputError, match=message):
        ProbeConfig(**options)
    with pytest.raises(InputError, match="choose adam or sgd"):
        MinibatchConfig(optimizer="lion")
    with pytest.raises(InputError, match="expected a positive"):
        MinibatchConfig(epochs=0)
