"""Images are recognised in new views, and unrelated views are not memorized."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import memorization
from analyses.memorization import MemorizationConfig
from feature_store import InputError

RNG = np.random.default_rng(0)
SOURCE = "toy:a#b@224"


def views(make_store, *, noise, count=40, channels=12):
    """Three stores of the same images, each with its own noise."""
    clean = RNG.normal(size=(count, 1, 1, channels))
    ids = [f"{n}.png" for n in range(count)]
    return [
        make_store(
            f"v{n}", {SOURCE: (clean + noise * RNG.normal(size=clean.shape)).astype(np.float32)},
            ids=ids,
        )
        for n in range(3)
    ]  # fmt: skip


@pytest.mark.parametrize("head", ["linear", "bank"])
def test_distinct_images_are_recognised_in_a_new_view(make_store, head):
    stores = views(make_store, noise=0.05)
    config = MemorizationConfig(head=head, epochs=40, batch=16, learning_rate=0.05, chunk=16)
    table = memorization.compute(stores[:2], sources=[SOURCE], held_out=stores[2], config=config)
    row = table.iloc[0]
    assert row["accuracy"] == 1
    assert row["held_out_accuracy"] > 0.9
    assert row["loss"] < 0.5 < row["chance_loss"] == pytest.approx(np.log(40))
    assert len(row["loss_curve"]) == 40
    assert row["loss_curve"][-1] < row["loss_curve"][0]


def test_views_without_common_content_cannot_be_memorised(make_store):
    stores = views(make_store, noise=100)
    config = MemorizationConfig(epochs=3, batch=64)
    row = memorization.compute(stores[:2], sources=[SOURCE], held_out=stores[2], config=config)
    assert row["held_out_accuracy"][0] < 0.2
    assert row["loss"][0] == pytest.approx(np.log(40), rel=0.2)


def test_scale_and_offset_of_channels_change_nothing(make_store):
    x = RNG.normal(size=(30, 1, 1, 6)).astype(np.float32)
    stores = [make_store(n, {SOURCE: a}) for n, a in (("a", x), ("b", 100 * x + 7))]
    config = MemorizationConfig(epochs=5)
    losses = [memorization.compute([s], sources=[SOURCE], config=config)["loss"][0] for s in stores]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_failed_images_are_left_out_of_every_view(make_store):
    x = RNG.normal(size=(20, 1, 1, 6)).astype(np.float32)
    ids = [str(n) for n in range(20)]
    stores = [
        make_store(f"f{n}", {SOURCE: x}, ids=ids, failed={row: "truncated"})
        for n, row in enumerate((3, 8))
    ]
    table = memorization.compute(stores, sources=[SOURCE], config=MemorizationConfig(epochs=1))
    assert table["instances"][0] == 18


def test_a_view_may_list_the_images_in_another_order(make_store):
    x = RNG.normal(size=(12, 1, 1, 6)).astype(np.float32)
    ids = [f"{n:02d}" for n in range(12)]
    order = RNG.permutation(12)
    first = make_store("v0", {SOURCE: x}, ids=ids, failed={4: "truncated"})
    same = make_store("v1", {SOURCE: x}, ids=ids)
    mixed = make_store("v2", {SOURCE: x[order]}, ids=[ids[n] for n in order])
    config = MemorizationConfig(epochs=3)
    tables = [
        memorization.compute([first], sources=[SOURCE], held_out=other, config=config)
        for other in (same, mixed)
    ]
    assert tables[0].equals(tables[1])


def test_refusals(make_store):
    x = RNG.normal(size=(8, 1, 1, 3)).astype(np.float32)
    a, b = make_store("a", {SOURCE: x}), make_store("b", {SOURCE: x})
    with pytest.raises(InputError, match="does not hold the images of"):
        memorization.compute([a, b], sources=[SOURCE])
    with pytest.raises(InputError, match="no store given"):
        memorization.compute([], sources=[SOURCE])
    with pytest.raises(InputError, match="choose linear or bank"):
        MemorizationConfig(head="mlp")
    with pytest.raises(InputError, match="epochs.* 0"):
        MemorizationConfig(epochs=0)
