"""Scores of ImageNet's other test sets, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import few_shot, probe, zero_shot
from analyses.configs import FewShotConfig, ProbeConfig
from analyses.linear.head import loss_and_hits
from analyses.reading.label_rule import compared_names, label_rule
from analyses.reading.labels import match_labels
from feature_store import InputError

SOURCE = "toy:a#blocks@224"
NAMES = ["ant", "bee", "cat", "dog"]
SCORES = np.array([[9, 4, 1, 0], [9, 1, 4, 0], [0, 1, 9, 4], [9, 0, 1, 4]], np.float32)
"""Largest of four images: ant, ant, cat, ant; without ant: bee, cat, cat, dog."""


@pytest.fixture
def test_store(make_store):
    """The four images, as a test set with these label names."""

    def make(label_names, labels, dataset="imagenet:r:/data", name="test"):
        return make_store(
            name, {SOURCE: SCORES[:, None, None]}, labels=np.array(labels),
            label_names=label_names, dataset=dataset,
        )  # fmt: skip

    return make


@pytest.fixture
def train_store(make_store):
    """Channels are the scores of the classes: a head learns to take the largest."""
    labels = np.arange(80) % 4
    noise = np.random.default_rng(0).uniform(0, 1, (80, 4))
    array = (8 * np.eye(4)[labels] + noise).astype(np.float32)
    return make_store("train", {SOURCE: array[:, None, None]}, labels=labels, label_names=NAMES)


def test_classes_that_the_test_set_does_not_name_are_not_compared(test_store):
    store = test_store(["bee", "cat", "dog"], [0, 0, 1, 2])
    rule = label_rule(store, NAMES)
    loss, hits = rule.loss_and_hits(SCORES.astype(float), store.labels)
    assert hits.tolist() == [True, False, True, True]
    assert loss[1] == pytest.approx(np.log(np.exp(1) + np.exp(4) + 1) - 1)
    assert rule.hits(SCORES[:, None].repeat(2, 1), store.labels).tolist() == [
        [hit, hit] for hit in hits
    ]


def test_any_class_of_an_image_is_right_and_none_never_is(test_store):
    names = [*NAMES, "cat|dog", "cow|pig"]
    store = test_store(names, [1, 2, 4, 4], dataset="imagenet:real:/data")
    rule = label_rule(store, NAMES)
    loss, hits = rule.loss_and_hits(SCORES.astype(float), store.labels)
    assert hits.tolist() == [False, False, True, False]
    total = np.log(np.exp([9.0, 0, 1, 4]).sum())
    assert loss[3] == pytest.approx(total - np.log(np.exp(1) + np.exp(4)))
    unknown, never = rule.loss_and_hits(SCORES.astype(float), np.array([-1, 5, 0, 0]))
    assert np.isinf(unknown[:2]).all()
    assert never.tolist() == [False, False, False, True]
    for label in range(4):
        labels = np.full(4, label)
        for ours, usual in zip(
            rule.loss_and_hits(SCORES.astype(float), labels),
            loss_and_hits(SCORES.astype(float), labels),
            strict=True,
        ):
            np.testing.assert_allclose(ours, usual)


def test_the_rule_is_the_usual_one_elsewhere(test_store):
    assert label_rule(test_store(["bee|cat", "dog"], [0, 0, 1, 1], "folder:x"), NAMES) is None
    assert label_rule(test_store([*NAMES, "cow"], [0, 0, 1, 1], name="all"), NAMES) is None


def test_accuracies_of_a_probe_by_hand(train_store, test_store):
    def accuracy(store):
        config = ProbeConfig(l2=1e-3)
        table = probe.compute(train_store, store, sources=[SOURCE], config=config)
        return table["test_accuracy"][0], table.attrs["label_rule"], table.attrs["unseen_classes"]

    plain = test_store(["bee", "cat", "dog"], [0, 1, 1, 2], "folder:x", name="plain")
    assert accuracy(plain) == (0.25, None, {})
    found, rule, _ = accuracy(test_store(["bee", "cat", "dog"], [0, 0, 1, 2], name="r"))
    assert found == 0.75
    assert (rule["compared_classes"], rule["images_of_several_classes"]) == (3, 0)
    found, rule, unseen = accuracy(
        test_store(["bee|cat", "dog", "cow|pig"], [0, 0, 1, 2], "imagenet:objectnet:/o", name="o")
    )
    assert found == 0.5
    assert (rule["compared_classes"], rule["images_of_several_classes"]) == (3, 3)
    assert unseen == {"cow|pig": 1}
    shots = FewShotConfig(shots=(5,), repeats=2)
    table = few_shot.compute(
        train_store, test_store(["bee", "cat", "dog"], [0, 0, 1, 2], name="few"),
        sources=[SOURCE], config=shots,
    )  # fmt: skip
    assert table["test_accuracy"][0] == 0.75
    assert table.attrs["label_rule"]["compared_classes"] == 3


def test_zero_shot_by_hand(test_store):
    store = test_store(["bee|cat", "dog"], [0, 0, 0, 1], "imagenet:objectnet:/o")
    assert compared_names(store) == ["bee", "cat", "dog"]
    texts = np.eye(4)[1:]
    table = zero_shot.compute(store, sources=SOURCE, classes={SOURCE: texts})
    assert table["test_accuracy"][0] == 1
    table = zero_shot.compute(store, sources=SOURCE, classes={SOURCE: texts[::-1]})
    assert table["test_accuracy"][0] == 0.5  # cat alone keeps its place
    assert table.attrs["label_rule"]["images_of_several_classes"] == 3


def test_several_classes_are_refused_where_an_image_has_one(train_store, test_store):
    store = test_store(["bee|cat", "dog"], [0, 0, 0, 1], "imagenet:objectnet:/o")
    with pytest.raises(InputError, match=r"'bee\|cat'; only a test store of `workbench probe`"):
        probe.compute(store, train_store, sources=[SOURCE])
    with pytest.raises(InputError, match=r"compares 3 of 4 classes .* only `workbench probe`"):
        match_labels(train_store, store, np.arange(80), np.arange(4))
