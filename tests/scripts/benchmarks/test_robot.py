"""Every part of the robot's benchmark with two small demonstrations."""

from __future__ import annotations

import runpy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from feature_store.errors import InputError

SCRIPT = Path(__file__).parents[3] / "scripts/benchmarks/robot.py"
SMALL = {"context": 4, "horizon": 4, "look_every": 2, "width": 16, "layers": 1, "batch": 2}
pytestmark = [
    pytest.mark.skipif(not find_spec("metaworld"), reason="needs the extra robot (metaworld)"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def script():
    own = runpy.run_path(str(SCRIPT))["training"].__globals__
    own.update(SIZE=32, STEPS=1, ROUNDS=1, CONFIG=replace(own["CONFIG"], **SMALL))
    return own


@pytest.fixture(scope="module")
def made(script, tmp_path_factory):
    try:
        return script["prepared"](tmp_path_factory.mktemp("benchmark"), 2)
    except InputError as error:
        pytest.skip(f"no rendering here: {error}")


def test_frames_that_are_encoded_in_a_step_are_those_of_the_stored_batch(script, made):
    demos, store = made
    learner = script["learner_of"](demos, store)
    images = script["datasets"].open(f"lerobot:{demos}")
    encode = script["live_encoder"](script["SOURCE"], "map")
    expected = learner.read(3)
    learner.store = None
    found = script["encoded"](learner, images, encode, 3)
    for name in ("state", "past", "future", "known"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    most = expected.visual.abs().max()
    assert (found.visual - expected.visual).abs().max() <= 2e-3 * most


def test_times_and_memory_are_measured(script, made, tmp_path):
    assert script["training"](*made)["encoding_over_stored"] > 0
    found = script["trials"](*made)
    assert "1" in found["simulations"]
    assert all(one["rolled_over_bare"] > 0 for one in found["simulations"].values())
    hz = script["control"]()
    assert set(hz) == set(script["experiment"].ROWS)
    assert hz["blind"] > hz["Lite0"]
    assert script["peak"](*made, 2, tmp_path) > 100
