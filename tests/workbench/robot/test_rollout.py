"""A planted expert is cloned to its own success; without sight, or with false sight, it fails."""

from __future__ import annotations

import operator
import os
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analyses.statistics.bootstrap import wilson
from feature_store.errors import InputError
from workbench.robot import evaluate, eyes, fit
from workbench.robot.config import ACTION_RANGE, PolicyConfig, RolloutConfig
from workbench.robot.environments import Environments, Order
from workbench.robot.film import chosen
from workbench.robot.fit import Learner, clone
from workbench.robot.rollout import Controller, Memory, Trial, roll
from workbench.training.config import TrainingConfig

SMALL = {"context": 4, "horizon": 4, "look_every": 2, "width": 32, "layers": 2, "dropout": 0.0}
WITHOUT_LAYERS = {name: SMALL[name] for name in ("context", "horizon", "look_every", "width")}
TRAINING = TrainingConfig(iterations=240, checkpoint_every=60, patience=9)
TRIALS = RolloutConfig(positions=20, seed=9, max_steps=16)


def cloned(plane, tmp_path, store=None, **options):
    small = SMALL if options.get("policy") != "mlp" else WITHOUT_LAYERS
    config = PolicyConfig(**{**small, "learning_rate": 3e-3, **options})
    seen = None if config.blind else (store or plane.store)
    learner = Learner(seen, "" if config.blind else plane.source, plane.given, config, seed=0)
    outcome = clone(learner, TRAINING, tmp_path / "run", print)
    learner.policy.eval()
    return learner, outcome


def encoder(plane):
    return lambda frames: torch.from_numpy(plane.encode(frames).reshape(len(frames), 1, -1))


def trials_of(plane, policy, *, sees=True, robots=1, ensemble=None):
    encode = encoder(plane) if sees else None
    controller = Controller(policy, encode, ensemble, within=ACTION_RANGE)
    with Environments(plane.robot, robots) as several:
        found = list(roll(controller, several, range(TRIALS.positions), TRIALS))
    return sorted(found, key=lambda trial: trial.position)


@pytest.fixture(scope="module")
def sighted(plane, tmp_path_factory):
    """A transformer that sees; read only."""
    return cloned(plane, tmp_path_factory.mktemp("sighted"))


def rate(trials):
    return np.mean([trial.placed for trial in trials])


def expert_rate(plane, *, other=0):
    """Success of the expert itself, or of one that heads for the target `other` positions on."""
    hits = np.zeros(TRIALS.positions, bool)
    for position in range(TRIALS.positions):
        robot, guide = plane.robot(), plane.robot()
        robot.reset(TRIALS.seed, position)
        guide.reset(TRIALS.seed, (position + other) % TRIALS.positions)
        for _ in range(TRIALS.max_steps):
            action = guide.expert()
            guide.act(action)
            hits[position] |= robot.act(action).placed
    return hits.mean()


@pytest.fixture(scope="module")
def chance(plane):
    """Success of experts that head for the target of another position: what no sight achieves."""
    return np.mean([expert_rate(plane, other=k) for k in range(1, TRIALS.positions)])


def test_a_planted_expert_is_cloned_to_its_own_success(plane, sighted):
    learner, outcome = sighted
    own = expert_rate(plane)
    assert own > 0.9
    found = trials_of(plane, learner.policy)
    assert [trial.position for trial in found] == list(range(20))
    assert rate(found) >= own - 0.1
    assert all(trial.grasped for trial in found if trial.placed)
    assert all(trial.steps < TRIALS.max_steps for trial in found if trial.placed)
    assert outcome.best_loss < 0.2
    assert rate(trials_of(plane, learner.policy, ensemble=0.1)) >= own - 0.1


def test_the_smaller_policy_learns_it_too(plane, tmp_path):
    learner, _ = cloned(plane, tmp_path, policy="mlp")
    assert rate(trials_of(plane, learner.policy)) >= expert_rate(plane) - 0.15


def low_end(trials):
    """Lower end of the interval of a success rate."""
    return wilson(sum(trial.placed for trial in trials), len(trials))[0]


@pytest.mark.parametrize("past_actions", [False, True])
def test_without_sight_a_policy_is_near_chance(plane, sighted, chance, past_actions, tmp_path):
    learner, outcome = cloned(plane, tmp_path, blind=True, past_actions=past_actions)
    assert 0 < chance < 0.2
    assert low_end(trials_of(plane, learner.policy, sees=False)) <= chance
    assert low_end(trials_of(plane, sighted[0].policy)) > chance
    assert outcome.best_loss > 2 * sighted[1].best_loss


def test_false_features_lose(plane, sighted, chance, tmp_path, monkeypatch):
    order = np.random.default_rng(0).permutation(len(plane.given.image_ids))
    monkeypatch.setattr(
        fit, "read_features",
        lambda store, source, pooling, rows: eyes.read_features(
            store, source, pooling, order[rows]
        ),
    )  # fmt: skip
    learner, outcome = cloned(plane, tmp_path)
    assert outcome.best_loss > 2 * sighted[1].best_loss
    assert low_end(trials_of(plane, learner.policy)) <= chance


def test_actions_in_degrees_are_given_and_remembered_as_demonstrated(plane):
    given = replace(plane.given, action=90 * plane.given.action)
    learner = Learner(plane.store, plane.source, given, PolicyConfig(**SMALL), seed=0)
    learner.policy.eval()
    robot, found = plane.robot(), []
    for within in (None, ACTION_RANGE):
        controller = Controller(learner.policy, encoder(plane), None, within=within)
        memory = Memory(Trial(0), states=[robot.reset(9, 0)])
        (actions,) = controller.decide([memory], [robot.frame()])
        found.append(memory.intend(actions))
        assert np.array_equal(np.stack(memory.actions), actions)
    free, clipped = found
    assert np.abs(free).max() > 1
    assert np.array_equal(clipped, np.clip(free, -1, 1))


def test_averaging_is_refused_where_no_predictions_overlap():
    policy = PolicyConfig(horizon=8, look_every=8)
    evaluate._require_overlap(RolloutConfig(), policy)
    evaluate._require_overlap(RolloutConfig(ensemble=0.1), replace(policy, look_every=7))
    with pytest.raises(InputError, match=r"ensemble is 0\.1.*8 steps.*every 8th"):
        evaluate._require_overlap(RolloutConfig(ensemble=0.1), policy)


def test_each_position_is_tried_once_whatever_the_number_of_robots(plane, sighted):
    alone = trials_of(plane, sighted[0].policy)
    together = trials_of(plane, sighted[0].policy, robots=2)
    assert [(t.position, t.placed) for t in together] == [(t.position, t.placed) for t in alone]


def test_what_a_policy_sees_in_closed_loop_is_what_it_was_trained_on(plane, sighted):
    """The expert's own actions, taken in closed loop, give the windows of the demonstrations."""
    learner, _ = sighted
    controller = Controller(learner.policy, encoder(plane), None)
    given, built = plane.given, []
    original = controller.batch
    controller.batch = lambda memories: built.append(original(memories)) or built[-1]
    controller._next = lambda memory, plan: given.action[len(memory.actions) :][:2]
    config = RolloutConfig(positions=1, seed=0, max_steps=int(given.stop[0]))
    with Environments(plane.robot, 1) as robots:
        (trial,) = roll(controller, robots, [0], config)
    assert trial.placed
    for look, batch in enumerate(built):
        expected = learner.batch(np.array([2 * look]))
        for name in ("state", "known", "past", "past_known", "visual"):
            found, wanted = getattr(batch, name), getattr(expected, name)
            mask = expected.known if name in ("state", "past") else None
            if name == "past":
                mask = expected.past_known
            if name == "visual":
                mask = expected.known[:, learner.policy.places]
            if mask is not None:
                found, wanted = found[mask], wanted[mask]
            assert torch.allclose(found, wanted, atol=1e-6), name


def test_films_are_of_the_first_successes_and_failures_and_small(plane, sighted):
    controller = Controller(sighted[0].policy, encoder(plane), None)
    config = RolloutConfig(positions=12, seed=9, max_steps=16)
    with Environments(plane.robot, 1) as robots:
        whole = list(roll(controller, robots, range(12), config))
        wanted = [trial.position for trial in chosen(reversed(whole), "placed")]
        kept = list(roll(controller, robots, wanted, config, filmed=lambda _: True))
    good, bad = ([t.position for t in whole if bool(t.placed) is side] for side in (True, False))
    assert wanted == [*good[:2], *bad[:2]]
    for trial in kept:
        assert len(trial.losses) == trial.steps
        assert len(trial.film) == -(-trial.steps // 3)
        assert trial.film[0].shape == (224, 224, 3)
        assert trial.film[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (partial(operator.truediv, 1, 0), "ZeroDivisionError: division by zero"),
        (partial(os._exit, 3), "simulation 0 has ended with status 3"),
        (partial(os.abort), "simulation 0 has ended with status -6"),
    ],
)
def test_what_failed_in_another_process_is_named(make, found):
    with Environments(make, 2) as robots, pytest.raises(InputError, match=found) as error:
        robots.obey([(0, Order(start=(0, 0)))])
    assert "memory" not in str(error.value)


def test_simulations_end_without_a_word_when_the_pipes_close_during_an_order(capfd):
    busy = partial(SimpleNamespace, reset=time.sleep, close=list)  # quick to import
    with Environments(busy, 2) as robots:
        for pipe in robots._pipes:
            pipe.send(Order(start=(0.3,), sees=False))
    assert [process.exitcode for process in robots._processes] == [0, 0]
    assert capfd.readouterr().err == ""


def test_no_more_simulations_start_than_trials_are_run():
    config = RolloutConfig(positions=20, environments=8)
    assert [evaluate._simulations(config, n, filmed=False) for n in (0, 1, 20)] == [0, 1, 8]
    assert [evaluate._simulations(config, n, filmed=True) for n in (0, 5)] == [4, 5]
    assert evaluate._simulations(replace(config, positions=3), 0, filmed=True) == 3
