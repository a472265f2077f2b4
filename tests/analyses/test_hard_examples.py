"""Planted hard images come out on top, and are told apart into rare and ambiguous."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import hard_examples
from analyses.hard_examples import HardConfig
from analyses.probe import ProbeConfig
from analyses.reading.roles import Roles
from feature_store import InputError

SMALL, SMALL_2, LARGE = "toy:s#b@224", "toy:s#b@448", "toy:l#b@224"
SOURCES = ["toy:s#b@224", "toy:s#b@224+448", "toy:l#b@224"]
NAMES = ["ant", "bee", "cat"]
RARE, AMBIGUOUS, TYPICAL = 7, 20, 31


def planted(make_store):
    """Image RARE lies far from its class but on its side; AMBIGUOUS lies between two classes.

    TYPICAL is an ordinary image of its class. In the small model's two scales all three look like
    another class; the large model gets them right.
    """
    rng = np.random.default_rng(0)
    stores = []
    for name, count in (("train", 240), ("test", 60)):
        labels = np.arange(count) % 3
        clean = 3 * np.eye(3, 8)[labels]
        arrays = {s: clean + 0.3 * rng.normal(size=(count, 8)) for s in (SMALL, SMALL_2, LARGE)}
        if name == "test":
            for row in (RARE, AMBIGUOUS, TYPICAL):
                for source in (SMALL, SMALL_2):
                    arrays[source][row] = 3 * np.eye(3, 8)[(labels[row] + 1) % 3]
            arrays[LARGE][RARE] += 6 * np.eye(8)[6]
            between = np.eye(3, 8)[labels[AMBIGUOUS]] * 1.55
            arrays[LARGE][AMBIGUOUS] = between + 1.5 * np.eye(3, 8)[(labels[AMBIGUOUS] + 1) % 3]
        maps = {s: a[:, None, None].astype(np.float32) for s, a in arrays.items()}
        stores.append(make_store(name, maps, labels=labels, label_names=NAMES))
    return stores


def test_planted_rare_and_ambiguous_images_are_on_top(make_store):
    config = HardConfig(count=3, probe=ProbeConfig(l2=0.01))
    table = hard_examples.compute(*planted(make_store), sources=SOURCES, config=config)
    assert sorted(table["row"]) == [RARE, AMBIGUOUS, TYPICAL]
    by_row = table.set_index("row")
    assert by_row.loc[RARE, ["rare", "ambiguous"]].tolist() == [True, False]
    assert by_row.loc[AMBIGUOUS, "ambiguous"]
    assert by_row.loc[TYPICAL, ["rare", "ambiguous"]].tolist() == [False, False]
    assert by_row.loc[RARE, "label"] == NAMES[RARE % 3]
    assert by_row.loc[RARE, "small_top"][0][0] == NAMES[(RARE + 1) % 3]
    assert by_row.loc[RARE, "large_top"][0][0] == NAMES[RARE % 3]
    assert (table["drop"] > 1).all()
    assert (table["s2_drop"] <= 0).all()
    for row, easy in zip(table["row"], table["easy"], strict=True):
        assert len(easy) == 2
        assert all(e % 3 == row % 3 and e != row for e in easy)
    assert all(len(nearest) == 5 for nearest in table["nearest"])


def test_image_that_s2_improves_is_not_hard(make_store):
    train, test = planted(make_store)
    # The same stores with the roles of S2 taken by a source that equals the large one.
    table = hard_examples.compute(
        train, test, sources=SOURCES, config=HardConfig(margin=-100.0, probe=ProbeConfig(l2=0.01))
    )
    assert len(table) == 0
    assert table.attrs["eligible"] == 0
    assert {"rare", "ambiguous", "nearest"} <= set(table.columns)


def test_roles_are_found_in_any_order():
    assert Roles.of(SOURCES[::-1]) == Roles(*SOURCES)


@pytest.mark.parametrize(
    "sources",
    [[], SOURCES[:2], ["a:s@224", "a:s@448", "a:s@224+448"], ["a:s@224", "b:s@224"]],
)
def test_other_source_sets_are_refused(sources):
    with pytest.raises(InputError, match="at least three"):
        Roles.of(sources)


def test_any_list_of_sources_has_its_roles_and_every_source_is_judged(make_store):
    given = ["m:s@224", "m:s@224+448", "m:s@224+448+672", "m:l@224", "m:h@224"]
    found = Roles.of(given)
    assert (found.small, found.s2, found.large) == (given[0], given[2], given[4])
    assert found.others == (given[1], given[3])
    with pytest.raises(InputError, match="named twice"):
        Roles.of([*given, given[0]])
    stores = planted(make_store)
    config = HardConfig(count=3, probe=ProbeConfig(l2=0.01))
    three = hard_examples.compute(*stores, sources=SOURCES, config=config)
    four = hard_examples.compute(*stores, sources=[SMALL_2, *SOURCES], config=config)
    assert three["others"].tolist() == [[], [], []]
    assert four["row"].tolist() == three["row"].tolist()
    ((name, loss, top),) = four["others"][0]
    assert (name, len(top)) == (SMALL_2, 3)
    assert loss > four["large_loss"][0]  # the second scale misses the planted images as well
    accuracy = {row["source"]: row for row in four.attrs["accuracy"]}
    assert accuracy[SOURCES[2]]["test_accuracy"] == 1
    assert accuracy[SOURCES[0]]["test_accuracy"] == 57 / 60  # the three planted images are missed
    assert accuracy[SOURCES[0]]["low"] < 57 / 60 < accuracy[SOURCES[0]]["high"]


def test_config_refusals():
    with pytest.raises(InputError, match="between 0 and 1"):
        HardConfig(rare_quantile=95)
    with pytest.raises(InputError, match="at least 1"):
        HardConfig(count=0)
