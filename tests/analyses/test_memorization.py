"""Instance heads: chunked softmax equals torch's, known losses, views, capacity near Cover's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses import memorization, random_labels
from analyses.linear.instance import TEMPERATURE, BankHead, LinearHead, chunked_softmax
from analyses.memorization import MemorizationConfig
from analyses.random_labels import RandomLabelConfig, capacity, fitted_accuracy
from feature_store import InputError

RNG = np.random.default_rng(0)
SOURCE = "toy:a#b@224"


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("chunk", [3, 7, 100])
def test_chunked_softmax_equals_torch(chunk):
    logits = torch.randn(5, 20, generator=generator(), dtype=torch.float64)
    target = torch.tensor([0, 7, 19, 3, int(logits[4].argmax())])
    normaliser, own, hit = chunked_softmax(lambda part: logits[:, part], 20, chunk, target)
    torch.testing.assert_close(normaliser, logits.logsumexp(1))
    torch.testing.assert_close(own, logits[torch.arange(5), target])
    assert hit.tolist() == (logits.argmax(1) == target).tolist()


@pytest.mark.parametrize("chunk", [4, 50])
def test_linear_gradient_equals_autograd(chunk):
    x, target = torch.randn(6, 3, generator=generator()), torch.tensor([0, 1, 9, 9, 4, 2])
    head = LinearHead(10, 3, chunk, generator(), "cpu")
    head.weight += torch.randn(10, 3, generator=generator())
    loss, _ = head.step(x, target)
    weight, bias = (p.clone().requires_grad_() for p in (head.weight, head.bias))
    oracle = torch.nn.functional.cross_entropy(x @ weight.T + bias, target)
    oracle.backward()
    torch.testing.assert_close(loss, oracle.detach())
    torch.testing.assert_close(head.weight.grad, weight.grad)
    torch.testing.assert_close(head.bias.grad, bias.grad)


@pytest.mark.parametrize("chunk", [4, 50])
def test_bank_gradient_equals_autograd(chunk):
    x, target = torch.randn(6, 5, generator=generator()), torch.tensor([0, 1, 9, 8, 4, 2])
    head = BankHead(10, 5, chunk, generator(), "cpu")
    loss, _ = head.step(x, target)
    projection = head.projection.detach().clone().requires_grad_()
    embedded = torch.nn.functional.normalize(x @ projection, dim=1)
    oracle = torch.nn.functional.cross_entropy(embedded @ head.bank.T / TEMPERATURE, target)
    oracle.backward()
    torch.testing.assert_close(loss, oracle.detach())
    torch.testing.assert_close(head.projection.grad, projection.grad)


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
    with pytest.raises(InputError, match="accuracy.* 0.4"):
        RandomLabelConfig(accuracy=0.4)


@pytest.mark.parametrize("channels", [10, 30])
def test_gaussian_capacity_is_near_covers(channels):
    x = RNG.normal(size=(200, channels)).astype(np.float32)
    found, censored, tried = capacity(x, RandomLabelConfig(repeats=5))
    assert not censored
    assert all((accuracy >= 0.99) == (count <= found) for count, accuracy in tried.items())
    # Cover: half of the dichotomies of 2 (d + 1) points are separable; at 99 % of hits on average
    # over draws a logistic head stays somewhat below.
    assert 0.7 <= found / (2 * (channels + 1)) <= 1.1


def test_fewer_points_than_dimensions_are_always_fitted():
    x = RNG.normal(size=(11, 10)).astype(np.float32)
    assert fitted_accuracy(x, 11, RandomLabelConfig()) == 1
    assert capacity(x, RandomLabelConfig()) == (11, True, {11: 1.0})


def test_capacity_does_not_change_under_invertible_maps():
    x = RNG.normal(size=(120, 12)).astype(np.float32)
    turn = RNG.normal(size=(12, 12)) * np.logspace(0, -2, 12)
    turned = (x @ turn + 5).astype(np.float32)
    config = RandomLabelConfig(repeats=2)
    assert abs(capacity(x, config)[0] - capacity(turned, config)[0]) <= 1


def test_features_on_a_line_hold_hardly_any_label(make_store):
    x = np.outer(RNG.normal(size=60), np.ones(8)).astype(np.float32)
    store = make_store("line", {SOURCE: x[:, None, None]})
    row = random_labels.compute(store, sources=[SOURCE]).iloc[0]
    assert row["capacity"] < 8  # one dimension: 2 (1 + 1) points, whatever the channels say
    assert row["cover"] == 18
    assert row["counts"][-1] == 60
    assert row["accuracies"][-1] < 0.99
