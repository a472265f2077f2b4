"""Policies: budgets by hand, scores by hand, thresholds, and files that are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analyses.scale_selection.config import SIMPLE, SelectionConfig
from analyses.scale_selection.layout import Layout
from analyses.scale_selection.policies import (
    FittedPolicy,
    choose,
    read_policy,
    simple_keys,
    simple_threshold,
    thresholds_of,
    top_down_keys,
)
from feature_store import InputError

RNG = np.random.default_rng(0)


@pytest.fixture
def layout(toys, kit):
    return Layout.stored(toys.train, kit.MODEL, ["16", "32"])


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("budget", [0, 0.3, 0.5, 1])
def test_images_get_equally_many_crops_and_extraction_the_same_ones(layout, name, budget):
    base = RNG.normal(size=(40, 4, 4, 3)).astype("f4")
    ids = [f"i{n}" for n in range(40)]
    keys = simple_keys(name, layout, base, ids)
    chosen = choose(keys, budget)
    assert chosen.sum() == round(budget * 160)
    assert np.ptp(chosen.sum(1)) <= 1
    alone = simple_keys(name, layout, base[7:8], ids[7:8])  # one image at a time: the same keys
    np.testing.assert_allclose(alone[0], keys[7])
    at_threshold = keys >= simple_threshold(layout, budget)
    assert abs(at_threshold.mean() - budget) < 0.1
    assert np.ptp(at_threshold.sum(1)) <= 1


def test_norm_and_variance_find_the_crop_by_hand(layout):
    base = np.ones((1, 4, 4, 2), np.float32)
    base[0, :2, 2:] = 3.0  # large and even: the crop at the upper right
    base[0, 2:, :2, 0] = [[0.5, 1.5], [1.5, 0.5]]  # small and uneven: at the lower left
    assert choose(simple_keys("norm", layout, base, ["a"]), 0.25).tolist() == [[0, 1, 0, 0]]
    assert choose(simple_keys("variance", layout, base, ["a"]), 0.25).tolist() == [[0, 0, 1, 0]]


def test_top_down_finds_the_crop_that_looks_like_the_query(layout):
    base = np.tile(np.float32([1, 0]), (1, 4, 4, 1))
    base[0, 2:, 2:] = [0.1, 5]
    keys = top_down_keys(layout, base, np.array([[0.0, 2.0]]))
    assert keys.argmax() == 3
    np.testing.assert_allclose(keys[0, 3], 5 / np.hypot(0.1, 5), rtol=1e-5)
    with pytest.raises(InputError, match=r"\(1, 3\); expected \(query, 2\)"):
        top_down_keys(layout, base, np.zeros((1, 3)))


def test_a_fitted_policy_comes_back_from_its_file_and_keeps_its_budgets(layout, tmp_path):
    keys = RNG.normal(size=(500, 4))
    policy = FittedPolicy(
        model="toy:a#t", weights_sha256="0" * 64, layout=layout.describe(), target="probe",
        offset=(0.0,) * 4, weights=(0.0,) * 5 + (1.0,), thresholds=thresholds_of(keys),
    )  # fmt: skip
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy.as_json()))
    assert read_policy(path) == policy
    for budget in (0, 0.07, 0.5, 1):
        share = (keys >= policy.threshold(budget)).mean()
        assert share == pytest.approx(budget, abs=2e-3)
    policy.refuse_others("toy:a#t", layout)
    with pytest.raises(InputError, match="fitted on toy:a#t, found toy:b#t"):
        policy.refuse_others("toy:b#t", layout)
    other = replace(policy, layout=policy.layout | {"scales": ["48"], "crops": [[3, 3]]})
    with pytest.raises(InputError, match="48 in 3 x 3 crops .* found 32 in 2 x 2 crops"):
        other.refuse_others("toy:a#t", layout)
    for text in ("{}", "not json", json.dumps(policy.as_json() | {"format": 9})):
        path.write_text(text)
        with pytest.raises(InputError, match="is not a fitted policy"):
            read_policy(path)


def test_budgets_and_policies_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match=r"budget is 1\.5; expected .* 0 to 1"):
        SelectionConfig(budgets=(0.5, 1.5))
    with pytest.raises(InputError, match="budget is -0.1"):
        SelectionConfig(budgets=(-0.1,))
    with pytest.raises(InputError, match="policy 'best'; choose from oracle, random"):
        SelectionConfig(policies=("best",))
