"""Moments against NumPy's covariance: any split, order or combination gives the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.moments.accumulate import Accumulator
from analyses.moments.one_pass import from_batches
from analyses.moments.second_moments import MomentsConfig, fold_of
from feature_store.errors import InputError

BLOCKS = {"a#t@1": 5, "b#t@1": 300}  # wider than one panel of products


def toy(images=40, seed=0, loc=0.0):
    rng = np.random.default_rng(seed)
    return {
        name: (loc + rng.standard_normal((images, 2, 3, c))).astype(np.float32)
        for name, c in BLOCKS.items()
    }


def part(tokens, rows):
    return {name: array[rows] for name, array in tokens.items()}


def joint(tokens):
    return np.concatenate([t.reshape(-1, t.shape[3]) for t in tokens.values()], 1).astype(float)


def accumulate(tokens, step=7, **config):
    acc = Accumulator(BLOCKS, MomentsConfig(**config))
    for at in range(0, 40, step):
        acc.update(part(tokens, slice(at, at + step)), np.arange(at, min(at + step, 40)))
    return acc.result()


@pytest.mark.parametrize("block_tokens", [1, 16, 4096])
def test_pooled_moments_equal_numpy(block_tokens):
    tokens = toy()
    made = accumulate(tokens, precision="float64", block_tokens=block_tokens)
    z = joint(tokens)
    names = list(BLOCKS)
    assert made.count() == len(z)
    np.testing.assert_allclose(made.mean_of(names), z.mean(0), atol=1e-12)
    np.testing.assert_allclose(
        made.comoment(names, names) / len(z), np.cov(z.T, ddof=0), atol=1e-12
    )
    np.testing.assert_allclose(made.variance_sum(names) / len(z), z.var(0), atol=1e-12)


def test_each_fold_holds_its_own_images():
    tokens = toy()
    made = accumulate(tokens, precision="float64")
    fold = fold_of(np.arange(40), 5)
    for k in made.folds:
        z = joint(part(tokens, fold == k))
        assert made.images[k] == (fold == k).sum()
        np.testing.assert_allclose(made.scatter[k], len(z) * np.cov(z.T, ddof=0), atol=1e-10)


def test_columns_follow_the_order_asked_for():
    made = accumulate(toy(), precision="float64")
    a, b = BLOCKS
    swapped = np.r_[5:305, 0:5]
    np.testing.assert_allclose(
        made.comoment([b, a], [a]), made.comoment([a, b], [a])[swapped], atol=1e-12
    )


@pytest.mark.parametrize("step", [1, 3, 13, 40])
def test_batch_size_changes_nothing(step):
    tokens = toy()
    np.testing.assert_allclose(
        accumulate(tokens, step).scatter, accumulate(tokens, 7).scatter, rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize("cut", [1, 17, 39])
def test_combining_adds_up_over_any_split(cut):
    tokens = toy(loc=3.0)
    halves = []
    for rows in (np.arange(cut), np.arange(cut, 40)):
        acc = Accumulator(BLOCKS, MomentsConfig(precision="float64"))
        acc.update(part(tokens, rows), rows)
        halves.append(acc.result())
    whole = accumulate(tokens, precision="float64")
    for both in (halves[0].combine(halves[1]), halves[1].combine(halves[0])):
        np.testing.assert_array_equal(both.tokens, whole.tokens)
        np.testing.assert_allclose(both.mean, whole.mean, atol=1e-12)
        np.testing.assert_allclose(both.scatter, whole.scatter, atol=1e-9)


def test_result_may_be_read_in_between():
    tokens = toy()
    acc = Accumulator(BLOCKS, MomentsConfig(precision="float64"))
    acc.update(part(tokens, slice(0, 10)), np.arange(10))
    acc.result()
    acc.update(part(tokens, slice(10, 40)), np.arange(10, 40))
    np.testing.assert_allclose(
        acc.result().scatter, accumulate(tokens, precision="float64").scatter, atol=1e-9
    )


def test_large_means_and_unequal_variances_keep_their_digits():
    """Channels whose norm is a hundred times the rest, as late ViT layers have."""
    rng = np.random.default_rng(1)
    scale = np.ones(305)
    scale[::50] = 100.0
    z = (1000 * scale + scale * rng.standard_normal((40, 2, 3, 305))).astype(np.float32)
    tokens = {"a#t@1": z[..., :5], "b#t@1": z[..., 5:]}
    made = accumulate(tokens)
    names = list(BLOCKS)
    exact = np.cov(joint(tokens).T, ddof=0) * made.count()
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.abs((made.comoment(names, names) - exact) / size).max() < 1e-6


def test_targets_keep_only_their_diagonal():
    tokens = toy()
    full = accumulate(tokens, precision="float64")
    lean = accumulate(tokens, precision="float64", targets=("a#t@1",))
    assert list(lean.channels) == ["b#t@1", "a#t@1"]
    np.testing.assert_allclose(
        lean.comoment(["b#t@1"], ["a#t@1"]), full.comoment(["b#t@1"], ["a#t@1"]), atol=1e-9
    )
    np.testing.assert_allclose(
        lean.variance_sum(["a#t@1"]), full.variance_sum(["a#t@1"]), atol=1e-9
    )
    with pytest.raises(InputError, match="targets only"):
        lean.comoment(["a#t@1"], ["a#t@1"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_accumulates_the_same_moments_and_takes_tensors_that_are_there():
    tokens = toy()
    here = accumulate(tokens)
    there = accumulate({n: torch.from_numpy(t).cuda() for n, t in tokens.items()}, device="cuda")
    np.testing.assert_allclose(there.scatter, here.scatter, rtol=1e-5, atol=1e-4)


def test_torch_tensors_give_the_same_moments():
    tokens = toy()
    as_tensors = accumulate({n: torch.from_numpy(t) for n, t in tokens.items()})
    np.testing.assert_array_equal(as_tensors.scatter, accumulate(tokens).scatter)


def test_folds_depend_on_the_row_alone_and_are_even():
    rows = np.arange(10_000)
    fold = fold_of(rows, 5)
    np.testing.assert_array_equal(fold[37:99], fold_of(rows[37:99], 5))
    assert np.abs(np.bincount(fold, minlength=5) - 2000).max() < 150


def test_refusals():
    acc = Accumulator(BLOCKS)
    good = toy(2)
    with pytest.raises(InputError, match=r"batch lacks b#t@1"):
        acc.update({"a#t@1": good["a#t@1"]})
    with pytest.raises(InputError, match="expected \\(image, row, col, 5\\)"):
        acc.update({**good, "a#t@1": good["b#t@1"]})
    with pytest.raises(InputError, match="grids differ.*grid='pool'"):
        acc.update({**good, "a#t@1": good["a#t@1"][:, :1]})
    with pytest.raises(InputError, match="images or token grids differ.*pass the same images"):
        acc.update({**good, "a#t@1": good["a#t@1"][:1]})
    good["b#t@1"][1, 0, 0, 7] = np.nan
    acc.update(good)
    with pytest.raises(InputError, match="tokens of b#t@1 are not finite"):
        acc.result()
    with pytest.raises(InputError, match="no images to accumulate"):
        from_batches([], list(BLOCKS))
    with pytest.raises(InputError, match="they hold a#t@1, b#t@1"):
        accumulate(toy()).columns(["c#t@1"])
    with pytest.raises(InputError, match="folds is 0"):
        MomentsConfig(folds=0)
