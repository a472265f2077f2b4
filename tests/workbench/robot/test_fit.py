"""Training: episodes whole on one side, windows within them, exact resumption, refusals."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.errors import InputError
from workbench.cli import main
from workbench.results import strict_json
from workbench.robot import fit
from workbench.robot import run as runs
from workbench.robot.config import PolicyConfig, RolloutConfig
from workbench.robot.demonstrations import load
from workbench.robot.eyes import Eyes, Sight
from workbench.robot.fit import Learner, clone
from workbench.robot.windows import looks, window_rows
from workbench.training.config import TrainingConfig

SOURCE = "toy:plane#all@4"
ARRAYS = ("state", "action", "start", "stop", "episode")
SMALL = {"context": 4, "horizon": 4, "look_every": 2, "width": 16, "layers": 1, "batch": 8}


def learner(plane, seed=0, **options):
    return Learner(plane.store, plane.source, plane.given, PolicyConfig(**SMALL | options), seed)


def test_no_episode_trains_and_validates(plane):
    one = learner(plane)
    train, validate = one.episodes
    assert set(train) & set(validate) == set()
    assert sorted([*train, *validate]) == list(range(60))
    assert len(validate) == 6
    assert set(plane.given.episode[one.frames[1]]) == set(validate)
    seen = one.batch(one.frames[0]), one.batch(one.frames[1])
    assert len(seen[0].state) + len(seen[1].state) == len(plane.given.image_ids)


def test_windows_stay_within_their_episode(plane):
    given, config = plane.given, PolicyConfig(**SMALL)
    rows = window_rows(np.arange(len(given.image_ids)), given, config)
    for name in ("steps", "seen", "future"):
        found = getattr(rows, name).reshape(len(given.image_ids), -1)
        assert (given.episode[found] == given.episode[:, None]).all(), name
    assert looks(config).tolist() == [1, 3]
    second = int(given.start[given.stop[0]]) + 1  # the second frame of the second episode
    assert rows.known[second].tolist() == [False, False, True, True]
    assert rows.steps[second].tolist()[-2:] == [second - 1, second]
    last = int(given.stop[0]) - 1
    assert rows.future_known[last, -1].tolist() == [True, False, False, False]


@pytest.mark.parametrize("pooling", ["mean", "attention", "map"])
def test_a_look_sees_no_later_step(plane, pooling):
    one = learner(plane, pooling=pooling)
    one.policy.eval()
    batch = one.batch(np.array([3]))
    with torch.no_grad():
        before = one.policy(batch)
        batch.state[:, 2:] += 9
        batch.past[:, 2:] += 9
        batch.visual[:, 1] += 9
        after = one.policy(batch)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_what_came_before_the_first_step_changes_nothing(plane):
    one = learner(plane)
    one.policy.eval()
    batch = one.batch(np.array([0]))
    with torch.no_grad():
        before = one.policy(batch)[:, -1]
        batch.state[:, :3] = 7.0
        batch.past[:, :] = 7.0
        batch.visual[:, 0] = 7.0
        assert torch.equal(one.policy(batch)[:, -1], before)


def test_a_layer_norm_can_be_trained_in_front():
    sight = Sight("prefix", (1, 6), np.zeros(6), np.ones(6))
    eyes = Eyes(sight, 8, norm=True)
    features = torch.randn(2, 3, 1, 6)
    assert torch.allclose(eyes(features), eyes(5 * features + 2), atol=1e-2)
    assert not torch.allclose(eyes(features), eyes(features.flip(-1)), atol=1e-2)
    assert "norm.weight" in eyes.state_dict()


def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(plane, tmp_path):
    line = [
        "robot", "train", "--store", plane.store.path, "--demos", str(plane.demos),
        "--source", plane.source, "--context", "4", "--horizon", "4", "--look-every", "2",
        "--width", "16", "--layers", "1", "--iterations", "30", "--checkpoint-every", "10",
    ]  # fmt: skip
    assert main([*line, "--out", str(tmp_path / "whole")]) == 0
    kill = f"""
import os, signal
from workbench.robot import fit
from workbench.cli import main
original, count = fit.Learner.loss, [0]
def loss(self, batch):
    count[0] += self.policy.training
    if count[0] == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch)
fit.Learner.loss = loss
main({[*line, "--out", str(tmp_path / "killed")]!r})
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", kill], env=env, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert main([*line, "--out", str(tmp_path / "killed")]) == 0
    for name in ("metrics.csv", "evaluation.csv"):
        whole, again = ((tmp_path / n / name).read_bytes() for n in ("whole", "killed"))
        assert whole == again
    states = [runs.load(tmp_path / n).policy.state_dict() for n in ("whole", "killed")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_run_is_read_with_its_best_weights(plane, tmp_path):
    one = learner(plane)
    training = TrainingConfig(iterations=20, checkpoint_every=5, patience=9)
    outcome = clone(one, training, tmp_path / "run", print)
    found = runs.load(tmp_path / "run")
    assert (found.step, found.source, found.pooling) == (outcome.best_step, plane.source, "map")
    batch = one.batch(np.arange(4))
    one.policy.eval()
    assert torch.equal(found.policy.act(batch), one.policy.act(batch))


def test_fewer_demonstrations_are_the_first_ones(plane):
    few = plane.given.take(5)
    assert set(few.episode) == set(range(5))
    assert few.image_ids == plane.given.image_ids[: len(few.state)]
    with pytest.raises(InputError, match="61; expected at most 60"):
        plane.given.take(61)


def test_one_demonstration_is_too_few(plane):
    one = replace(plane.given, **{
        name: getattr(plane.given, name)[: plane.given.stop[0]] for name in ARRAYS
    })  # fmt: skip
    for given, asked, found in (
        (plane.given, 1, "episodes is 1; .* at least 2"),
        (plane.given, 0, "episodes is 0; .* at least 2"),
        (one, 1, "found 1 demonstration.* at least 2"),
        (one, 3, "found 1 demonstration.* at least 2"),
        (one, None, "found 1 demonstration.* at least 2"),
    ):
        with pytest.raises(InputError, match=found):
            given.take(asked).split(0.1, 0)


def test_lost_frames_are_named_among_those_that_are_kept(plane, monkeypatch):
    monkeypatch.setattr(fit, "good_rows", lambda store, source: np.delete(np.arange(len(store)), 3))
    with pytest.raises(InputError, match=f"1 of 20 frames.*{plane.given.image_ids[3]}"):
        fit._require_whole(plane.store, plane.source, 20)
    fit._require_whole(plane.store, plane.source, 3)


def test_options_and_stores_that_do_not_fit_are_refused(plane, demos, tmp_path, capsys):
    with pytest.raises(InputError, match="look_every is 17.*16"):
        PolicyConfig(look_every=17)
    with pytest.raises(InputError, match=r"prefix.*map"):
        learner(plane, pooling="prefix")
    out = ["--out", str(tmp_path / "run")]
    assert main(["robot", "train", "--demos", str(plane.demos), *out]) == 2
    assert "--blind" in capsys.readouterr().err
    line = ["robot", "train", "--demos", str(demos.folder), "--store", plane.store.path]
    assert main([*line, "--source", plane.source, *out]) == 2
    said = capsys.readouterr().err
    assert str(len(load(demos.folder).image_ids)) in said
    with pytest.raises(InputError, match="no run.*robot train"):
        runs.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["--source"], "--store missing"),
        (["--store"], f"--source missing.*holds {re.escape(SOURCE)}"),
        ([], "--store and --source missing.*--blind"),
        (["--store", "--source", "--blind"], "--blind and --store and --source"),
    ],
)
def test_a_policy_is_blind_only_when_told(plane, tmp_path, capsys, given, found):
    values = {"--store": [plane.store.path], "--source": [plane.source], "--blind": []}
    line = ["robot", "train", "--demos", str(plane.demos), "--out", str(tmp_path / "run")]
    assert main([*line, *(word for name in given for word in (name, *values[name]))]) == 2
    assert re.search(found, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "name", "values"),
    [
        (PolicyConfig, "dropout", (1.5, 1.0, -0.1, math.nan)),
        (PolicyConfig, "learning_rate", (0.0, math.nan, math.inf)),
        (PolicyConfig, "weight_decay", (-1.0, math.nan)),
        (RolloutConfig, "light", (-1.0, math.nan, math.inf)),
        (RolloutConfig, "camera_shift", (math.nan, -math.inf)),
        (RolloutConfig, "ensemble", (-1.0, math.nan)),
    ],
)
def test_numbers_that_mean_nothing_are_refused(config, name, values):
    for value in values:
        with pytest.raises(InputError, match=rf"{name}.* {value}"):
            config(**{name: value})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"policy": "mlp", "layers": 2}, "layers is 2.*policy mlp"),
        ({"policy": "mlp", "dropout": 0.0}, "dropout is 0.0.*policy mlp"),
        ({"policy": "mlp", "past_actions": False}, "past_actions is False.*policy mlp"),
        ({"blind": True, "pooling": "map"}, "pooling is map.*blind True"),
        ({"blind": True, "layer_norm": True}, "layer_norm is True.*blind True"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(options, found):
    PolicyConfig(**{next(iter(options)): next(iter(options.values()))})
    with pytest.raises(InputError, match=found):
        PolicyConfig(**options)


def test_a_run_with_an_option_that_changed_nothing_is_still_read(plane, tmp_path):
    one = Learner(None, "", plane.given, PolicyConfig(**SMALL, blind=True), 0)
    clone(one, TrainingConfig(iterations=1, checkpoint_every=1), tmp_path, print)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"pooling": "auto"', '"pooling": "map"'))
    assert '"pooling": "map"' in path.read_text()
    assert runs.load(tmp_path).policy.config == one.config


def test_the_device_is_chosen_or_refused(plane, tmp_path, capsys):
    line = ["robot", "train", "--demos", str(plane.demos), "--blind", "--iterations", "1"]
    line += ["--width", "16", "--out", str(tmp_path / "run"), "--device"]
    assert main([*line, "meta"]) == 2
    assert "device is 'meta'; name cpu" in capsys.readouterr().err
    assert main([*line, "auto"]) == 0


def test_a_store_with_some_of_the_token_positions_is_refused(demos, tmp_path, capsys):
    store, model = str(tmp_path / "s.zarr"), "bundled:efficientnet_lite0"
    line = ["extract", "--dataset", f"lerobot:{demos.folder}", "--store", store, "--model", model]
    assert main([*line, "--scales", "64", "--tokens-per-image", "2"]) == 0
    train = ["robot", "train", "--demos", str(demos.folder), "--store", store]
    assert main([*train, "--source", f"{model}@64.t2", "--out", str(tmp_path / "run")]) == 2
    assert "64.t2 keeps 2 of 49 token positions" in capsys.readouterr().err


def test_a_store_with_some_of_the_crops_is_refused(demos, tmp_path, capsys):
    store, model = str(tmp_path / "s.zarr"), "bundled:efficientnet_lite0"
    line = ["extract", "--dataset", f"lerobot:{demos.folder}", "--store", store, "--model", model]
    select = ["--scales", "224", "448", "--select", "variance", "--budget", "0.5"]
    assert main([*line, *select]) == 0
    train = ["robot", "train", "--demos", str(demos.folder), "--store", store]
    assert main([*train, "--source", f"{model}@224+448", "--out", str(tmp_path / "run")]) == 2
    assert "@448 in" in (said := capsys.readouterr().err)
    assert "was extracted with --select" in said


def test_the_folder_of_another_run_is_refused_before_features_are_read(
    plane, tmp_path, monkeypatch
):
    short = TrainingConfig(iterations=1)
    clone(learner(plane), short, tmp_path, print)
    assert strict_json.read(tmp_path / "run.json")["identity"]["sight"] == ["map", 1, 5]
    clone(learner(plane), short, tmp_path, print)
    monkeypatch.setattr(fit, "survey", None)
    with pytest.raises(InputError, match="width was 16 there and is 32 now"):
        clone(learner(plane, width=32), short, tmp_path, print)
    with pytest.raises(InputError, match="iterations was 1 there and is 2 now"):
        clone(learner(plane), replace(short, iterations=2), tmp_path, print)


def test_a_negative_seed_is_refused(plane):
    with pytest.raises(InputError, match="seed is -1; expected at least 0"):
        learner(plane, seed=-1)


def test_a_file_is_refused_where_a_folder_is_written(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    train = ["train", "--demos", "none", "--blind", "--out"]
    for line in (["demos", "--out"], train, ["rollout", "--run", "none", "--video"]):
        for path in (file, file / "below"):
            assert main(["robot", *line, str(path)]) == 2
            said = capsys.readouterr().err
            assert f"{line[-1]} is {path}, but {file} is a file" in said
