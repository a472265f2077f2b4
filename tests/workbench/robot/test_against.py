"""Two runs over the same positions: their paired difference, and what cannot be paired."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from analyses.statistics.trials import paired
from feature_store.errors import InputError
from workbench.cli import main
from workbench.robot import run as runs
from workbench.robot.against import differences, finished_trials
from workbench.robot.config import PolicyConfig, RolloutConfig
from workbench.robot.evaluate import require_simulated
from workbench.robot.fit import Learner, clone
from workbench.robot.rollout import Trial
from workbench.robot.trials import TrialLog, summary, trial_identity
from workbench.training.config import TrainingConfig

SMALL = {"context": 4, "horizon": 4, "look_every": 2, "width": 16, "layers": 1, "batch": 8}
CONFIG = RolloutConfig(positions=6)
SIMULATION = {"task": "pick-place-v3", "versions": {}}


@pytest.fixture(scope="module")
def two(plane, tmp_path_factory):
    """Two blind runs of another seed, as if simulated; read only but for their trials."""
    given = replace(plane.given, recording=SIMULATION)
    folders = [tmp_path_factory.mktemp("against") / name for name in ("one", "other")]
    for seed, folder in enumerate(folders):
        learner = Learner(None, "", given, PolicyConfig(**SMALL, blind=True), seed)
        clone(learner, TrainingConfig(iterations=2, checkpoint_every=2), folder, print)
    return folders


@pytest.fixture
def tried(two):
    """Writes trials of the second run; they are removed afterwards."""

    def write(config, trials):
        cloned = runs.load(two[1])
        log = TrialLog(two[1], trial_identity(config, cloned.identity, cloned.step, "cpu"))
        for trial in trials:
            log.add(trial)

    yield write
    for path in two[1].glob("trials.*"):
        path.unlink()


def test_positions_that_both_have_finished_are_paired(two, tried):
    own = [Trial(k, grasped=k < 5, placed=k < 3) for k in range(6)]
    other = [Trial(k, grasped=k in (1, 9), placed=False) for k in (4, 1, 0, 9)]
    tried(CONFIG, other)
    tried(replace(CONFIG, seed=2), [Trial(k, grasped=True) for k in range(6)])
    trials = finished_trials(*two, replace(CONFIG, positions=6, success="placed", environments=3))
    assert sorted(trials) == [0, 1, 4], "position 9 is none of the first six"
    found = differences(summary(own, "grasp")["outcomes"], trials)
    expected = paired(np.array([[1, 1, 1]], bool), np.array([[0, 1, 0]], bool))
    assert found["positions"] == 3
    assert found["grasp"] == expected._asdict()
    assert found["grasp"]["difference"] == pytest.approx(2 / 3)
    assert found["placed"]["difference"] == pytest.approx(2 / 3)
    assert found["placed"]["p"] == 0.5


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", 2), ("camera_shift", 0.05), ("light", 0.5), ("max_steps", 99), ("ensemble", 0.1)],
)
def test_trials_with_another_setting_are_refused(two, tried, option, value):
    other, wanted = replace(CONFIG, **{option: value}), getattr(CONFIG, option)
    tried(other, [Trial(0)])
    tried(replace(other, seed=7, max_steps=80), [Trial(0)])
    with pytest.raises(InputError, match=rf"\({option} is {value} there, expected {wanted}\)"):
        finished_trials(*two, CONFIG)


def test_the_remedy_repeats_the_options(two):
    config = replace(CONFIG, light=0.5, ensemble=0.1, success="placed")
    line = "robot rollout --run .*other --positions 6 --seed 1 --ensemble 0.1 --light 0.5$"
    with pytest.raises(InputError, match=line):
        finished_trials(*two, config)


def test_trials_of_other_weights_are_not_paired(two, tried):
    cloned = runs.load(two[1])
    identity = trial_identity(CONFIG, cloned.identity, cloned.step + 1, "cpu")
    TrialLog(two[1], identity).add(Trial(0))
    with pytest.raises(InputError, match=r"another step\); first: .*--positions 6 --seed 1"):
        finished_trials(*two, CONFIG)


def test_a_run_that_was_not_tried_is_named_and_so_is_the_run_itself(two):
    with pytest.raises(InputError, match=r"other has no finished trials.*none at all"):
        finished_trials(*two, CONFIG)
    with pytest.raises(InputError, match="the run itself"):
        finished_trials(two[0], two[0], CONFIG)


@pytest.mark.parametrize(
    ("name", "value"), [("task", "push-v3"), ("versions", {"mujoco": "1.0"})]
)  # fmt: skip
def test_runs_of_other_simulations_are_refused(two, name, value):
    wanted = runs.finished(two[0]).identity["recording"][name]
    line = rf"{name} of .*other is .*expected {wanted} as in .*one"
    with recording(two[1], {**SIMULATION, name: value}), pytest.raises(InputError, match=line):
        finished_trials(*two, CONFIG)


def test_a_policy_of_another_robot_is_refused_before_the_runs_are_compared(two):
    with recording(two[0], {}), pytest.raises(InputError, match="one was trained .*simulated"):
        finished_trials(*two, CONFIG)


@contextmanager
def recording(folder, facts):
    """A run as if its demonstrations had been recorded otherwise."""
    path = folder / "run.json"
    text = path.read_text()
    record = json.loads(text)
    record["identity"]["recording"] = facts
    path.write_text(json.dumps(record))
    try:
        yield
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 10}, "trained at 10 frames per second, but the simulation runs at"),
        ({"recording": {**SIMULATION, "versions": {"mujoco": "1.0"}}}, "mujoco 1.0"),
        ({"recording": {}}, "workbench robot demos did not record"),
    ],
)
def test_a_run_that_this_simulation_cannot_try_is_refused(two, change, message, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(two[0], folder)
    record = json.loads((folder / "run.json").read_text())
    record["identity"] |= change
    (folder / "run.json").write_text(json.dumps(record))
    assert main(["robot", "rollout", "--run", str(folder), "--positions", "1"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_policy_for_another_robot_is_not_tried(two):
    identity = {**runs.load(two[0]).identity, "sizes": [6, 7]}
    with pytest.raises(InputError, match="takes 6 state values and gives 7 action values"):
        require_simulated(two[0], identity)
