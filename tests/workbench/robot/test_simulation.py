"""The simulated robot: positions by seed, what a policy may know, live features as the store's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import feature_store
from feature_store.errors import InputError
from workbench import code_hash, datasets
from workbench.cli import main
from workbench.models import run_names, timm_family, trained
from workbench.robot import simulation as simulating
from workbench.robot.config import DemoConfig, RolloutConfig
from workbench.robot.demonstrations import load
from workbench.robot.environments import Environments, Order
from workbench.robot.eyes import read_features
from workbench.robot.live import live_encoder
from workbench.robot.record import record
from workbench.robot.simulation import Simulation
from workbench.training.features import recorded as recorded_fields

pytestmark = pytest.mark.skipif(
    not find_spec("metaworld"), reason="needs the extra robot (metaworld)"
)
LITE = "bundled:efficientnet_lite0"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robot") / "demos"
    try:
        found = record(DemoConfig(episodes=2, size=64), folder, print)
    except InputError as error:
        pytest.skip(f"no rendering here: {error}")
    return folder, found


def test_positions_depend_on_seed_and_number_alone():
    one, other = (Simulation("pick-place-v3", 32) for _ in range(2))
    one.reset(0, 5)
    one.act(one.expert())
    one.reset(0, 3)
    other.reset(0, 3)
    places = [np.array(robot._seen) for robot in (one, other)]
    assert np.array_equal(*places)
    other.reset(1, 3)
    assert not np.allclose(places[0][4:7], other._seen[4:7])


@pytest.mark.parametrize("task", ["pick-place-v3", "drawer-open-v3"])
def test_the_start_shows_what_the_position_gives(task, recorded):
    import mujoco

    robot = Simulation(task, 64)
    for position in range(2):
        robot.reset(0, position)
        first, seen = robot.frame(), robot._seen.copy()
        mujoco.mj_forward(robot._env.model, robot._env.data)
        assert np.array_equal(first, robot.frame())
        assert np.allclose(seen, robot._env._get_obs())


def test_a_drawer_is_not_grasped_before_it_is_open():
    robot = Simulation("drawer-open-v3", 32)
    robot.reset(0, 0)
    steps = [robot.act(robot.expert()) for _ in range(150)]
    assert not steps[0].grasped
    assert any(step.placed for step in steps)
    assert all(step.grasped == step.placed for step in steps)


def test_criterion_and_length_of_a_trial():
    assert RolloutConfig().criterion("pick-place-v3") == "grasp"
    assert RolloutConfig().criterion("drawer-open-v3") == "placed"
    assert RolloutConfig(success="grasp").criterion("push-v3") == "grasp"
    with pytest.raises(InputError, match="max_steps is 501; expected at most 500"):
        RolloutConfig(max_steps=501)


def test_object_and_goal_are_kept_from_the_policy():
    robot = Simulation("pick-place-v3", 32)
    states, objects = [], []
    for position in range(4):
        states.append(robot.reset(0, position))
        objects.append(robot._seen[4:7].copy())
    assert np.ptp(objects, 0).max() > 0.02
    assert np.allclose(states, states[0], atol=1e-4)
    assert all(state.shape == (4,) for state in states)
    assert robot.act(robot.expert()).state.shape == (4,)


@pytest.mark.parametrize("task", ["pick-place-v3", "drawer-open-v3"])
def test_recorded_states_follow_from_the_hand_alone_at_every_step(task, recorded, tmp_path):
    record(DemoConfig(task=task, episodes=1, size=32), tmp_path, print)
    given, robot = load(tmp_path), Simulation(task, 32)
    robot.reset(0, 0)
    data, hands, others = robot._env.data, [], []
    for action in given.action:
        fingers = [data.body(name).xpos for name in ("rightclaw", "leftclaw")]
        gap = np.clip(np.linalg.norm(np.subtract(*fingers)) / 0.1, 0, 1)
        hands.append([*data.body("hand").xpos, gap])
        others.append([*robot._seen[4:7], *robot._seen[36:]])
        robot.act(action)
    others = np.array(others)  # positions of the object and of the goal
    assert np.allclose(given.state, hands, atol=1e-5)
    assert np.ptp(others[:, :3], 0).max() > 0.02, "the object moves"
    apart = np.abs(given.state[:, :, None] - others[:, None]).max(0)
    assert apart.min() > 1e-3, "no value is that of the object or the goal"


def test_experts_succeed_and_are_recorded_whole(recorded, capsys):
    folder, found = recorded
    assert (found["episodes"], found["successes"]) == (2, 2)
    given = load(folder)
    assert given.recording["versions"] == simulating.versions()
    assert len(given.image_ids) == found["frames"]
    assert np.abs(given.action).max() <= 1
    dataset = datasets.open(f"lerobot:{folder}")
    frames = np.stack([dataset.image(row) for row in (0, found["frames"] - 1)])
    assert frames.shape[1:] == (64, 64, 3)
    assert frames.std() > 10, "a picture, not a blank"
    again = record(DemoConfig(episodes=2, size=64), folder, print)
    assert again == found
    assert main(["robot", "demos", "--episodes", "3", "--out", str(folder)]) == 2
    assert "episodes was 2 there and is 3 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "scales", "pooling", "fit", "shape"),
    [
        (LITE, "224+448.raw", "map", "model", (2, 49, 640)),
        (LITE, "224+448", "map", "model", (2, 49, 640)),
        (LITE, "224+448", "mean", "pad", (2, 1, 640)),
        ("random:timm:vit_tiny_patch16_224", "224+448", "prefix", "model", (2, 1, 384)),
    ],
)
def test_features_of_a_live_frame_are_those_of_the_store(
    recorded, tmp_path, model, scales, pooling, fit, shape
):
    folder, _ = recorded
    store, source = str(tmp_path / "s.zarr"), f"{model}@{scales}"
    line = ["extract", "--dataset", f"lerobot:{folder}", "--store", store, "--model", model]
    assert main([*line, "--scales", *scales.split("+"), "--limit", "2", "--fit", fit]) == 0
    stored = read_features(feature_store.open(store), source, pooling, np.arange(2))
    robot = Simulation("pick-place-v3", 64)
    robot.reset(0, 0)
    first = robot.frame()
    robot.act(robot.expert())
    opened = feature_store.open(store)
    singles = map(str, opened.resolve(source).singles())
    features = {single: recorded_fields(opened.source(single).manifest) for single in singles}
    frames = np.stack([first, robot.frame()])
    live = live_encoder(source, pooling, features=features)(frames).numpy()
    assert live.shape == stored.shape == shape
    most = np.abs(stored).max()
    assert np.abs(live - stored).max() <= 2e-3 * most
    assert np.abs(live - live_encoder(source, pooling)(frames[::-1].copy()).numpy()).max() > 0
    for name, value in (("weights_sha256", "0" * 64), ("transform", {"mode": "squash"})):
        others = {single: {**fields, name: value} for single, fields in features.items()}
        with pytest.raises(InputError, match=rf"{name}.* was (0000|None|squash)"):
            live_encoder(source, pooling, features=others)


def test_a_policy_is_trained_and_tried_from_the_command_line(recorded, tmp_path, capsys):
    folder, _ = recorded
    run = str(tmp_path / "run")
    train = ["robot", "train", "--demos", str(folder), "--blind", "--look-every", "16"]
    assert (
        main([*train, "--iterations", "2", "--width", "16", "--out", run, "--patience", "None"])
        == 0
    )
    roll = ["robot", "rollout", "--run", run, "--positions", "2", "--max-steps", "20"]
    video = ["--video", str(tmp_path), "--environments", "1"]
    capsys.readouterr()
    assert main([*roll, *video, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 2
    assert found["low"] <= found["success_rate"] <= found["high"]
    assert len(found["outcomes"]["placed"]) == 2
    assert found["hz"] > 0
    assert (tmp_path / "trials.gif").stat().st_size > 1000
    assert main([*roll, "--environments", "2", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["outcomes"] == found["outcomes"]
    assert again["steps_per_s"] is None, "trials that are there are not repeated"
    assert main([*roll, "--device", "auto", "--environments", "1"]) == 0
    assert main([*roll, "--device", "meta"]) == 2
    assert "device is 'meta'" in capsys.readouterr().err
    assert main([*roll, "--ensemble", "0.1"]) == 2
    assert "--ensemble" in capsys.readouterr().err
    assert main([*roll, "--seed", "0"]) == 2
    assert "--seed is 0, the seed of the demonstrations" in capsys.readouterr().err
    other = str(tmp_path / "other")
    assert main([*train, "--iterations", "2", "--width", "16", "--out", other, "--seed", "1"]) == 0
    against = ["--run", other, "--against", run, "--environments", "1"]
    assert main(["robot", "rollout", *roll[4:], *against, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert (compared["against"]["run"], compared["against"]["positions"]) == (run, 2)
    own, theirs = (np.mean(one["outcomes"]["grasp"]) for one in (compared, found))
    assert compared["against"]["grasp"]["difference"] == own - theirs
    assert main(["robot", "rollout", *roll[4:], *against, "--light", "0.5"]) == 2
    assert "light is 1.0 there, expected 0.5" in capsys.readouterr().err


def test_a_policy_sees_with_a_model_that_was_trained_here(recorded, tmp_path, capsys, monkeypatch):
    names = ("one #1", "other")
    encoder, other = (f"run:{trained_here(tmp_path / name, k)}" for k, name in enumerate(names))
    store, run = str(tmp_path / "s.zarr"), str(tmp_path / "run")
    demos = ["--demos", str(recorded[0])]
    line = ["extract", "--dataset", f"lerobot:{recorded[0]}", "--store", store, "--scales", "1x"]
    assert main([*line, "--model", encoder]) == 0
    train = ["robot", "train", *demos, "--store", store, "--source", f"{encoder}@1x", "--out", run]
    assert main([*train, "--look-every", "16", "--width", "16", "--iterations", "2"]) == 0
    monkeypatch.setattr(run_names, "_places", {})  # as in another process
    roll = ["robot", "rollout", "--run", run, "--positions", "1", "--max-steps", "16"]
    roll += ["--environments", "1", "--json"]
    assert main(roll) == 2
    assert "--encoder run:FOLDER" in capsys.readouterr().err
    assert main([*roll, "--encoder", other]) == 2
    assert run_names.run_name(other) in capsys.readouterr().err
    assert main([*roll, "--encoder", encoder]) == 0
    assert json.loads(capsys.readouterr().out)["steps_per_s"] > 0
    assert main(roll) == 0
    assert json.loads(capsys.readouterr().out)["steps_per_s"] is None
    monkeypatch.setattr(code_hash, "parts_sha256", lambda parts: "other code")
    assert main(roll) == 0
    assert json.loads(capsys.readouterr().out)["steps_per_s"] > 0


def trained_here(folder, seed):
    folder.mkdir()
    module = timm_family.create(
        "test_vit", pixels=32, pretrained=False, meta=False, seed=seed, num_classes=0
    )
    record = {"architecture": "test_vit", "pixels": 32, "options": {}, "objective": "supervised",
              "scales": ["32"], "identity": "0" * 64}  # fmt: skip
    trained.write(module.state_dict(), record, folder)
    return folder


@pytest.mark.parametrize("action", [np.zeros(3), np.array([0, 0, 0, np.nan])])
def test_an_action_that_no_robot_can_take_is_refused(action):
    with pytest.raises(InputError, match=r"\(3,\), expected \(4,\)|nan.*finite"):
        simulating.refuse_action(action)


def test_another_simulator_than_the_recorded_one_is_refused():
    with pytest.raises(InputError, match=r"mujoco 1\.0, and .* installed.*mujoco==1\.0"):
        simulating.require_versions({**simulating.versions(), "mujoco": "1.0"})


def test_a_machine_without_rendering_is_told_what_to_install(monkeypatch):
    import mujoco

    def fail(*_):
        raise RuntimeError("no device")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    robot = Simulation("pick-place-v3", 32)
    with pytest.raises(InputError, match=r"no device.*libegl1.*osmesa"):
        robot.frame()


def test_a_frame_that_the_driver_cannot_draw_is_not_taken_for_a_missing_driver(monkeypatch):
    import mujoco

    def fail(*_):
        raise mujoco.FatalError("Offscreen framebuffer is not complete, error 0x8cd6")

    robot = Simulation("pick-place-v3", 2048)
    monkeypatch.setattr(mujoco, "Renderer", fail)
    with pytest.raises(InputError, match="2048 x 2048 pixels.*0x8cd6.*--size") as refused:
        robot.frame()
    assert "libegl1" not in str(refused.value)


def test_frames_that_are_too_large_leave_no_folder(tmp_path, capsys):
    out = tmp_path / "demos"
    assert main(["robot", "demos", "--size", "40000", "--out", str(out)]) == 2
    assert "size is 40000; expected at most 2048" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(("platform", "chosen"), [("linux", "egl"), ("darwin", None)])
def test_egl_is_chosen_and_advised_on_linux_alone(monkeypatch, platform, chosen):
    Simulation("pick-place-v3", 32)  # MuJoCo is imported
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    simulating._no_pictures.__wrapped__()
    assert os.environ.get("MUJOCO_GL") == chosen
    said = str(simulating._cannot_render("no context"))
    assert ("libegl1" in said) == (platform == "linux")
    assert ("unset MUJOCO_GL" in said) == (platform == "darwin")


def test_recording_without_a_driver_ends_with_one_line(tmp_path):
    line = [sys.executable, "-m", "workbench", "robot", "demos", "--out", str(tmp_path / "demos")]
    env = {**os.environ, "MUJOCO_GL": "foo", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "MUJOCO_GL=foo" in done.stderr
    assert "libegl1" in done.stderr
    assert "Traceback" not in done.stderr


def test_simulations_in_processes_need_a_driver_only_to_see(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "foo")
    with Environments(partial(Simulation, "pick-place-v3", 32), 2) as robots:
        (answer,) = robots.obey([(0, Order(start=(0, 0), sees=False))])
        assert answer.states.shape == (1, 4)
        with pytest.raises(InputError, match=r"MUJOCO_GL=foo.*libegl1"):
            robots.obey([(1, Order(start=(0, 0)))])


def test_light_scales_every_intensity_of_every_lamp():
    robots = [Simulation("pick-place-v3", 32, light=light) for light in (1.0, 0.5)]
    for kind in ("ambient", "diffuse", "specular"):
        lamps, heads = zip(
            *(
                (getattr(m, f"light_{kind}"), getattr(m.vis.headlight, kind))
                for m in (robot._env.model for robot in robots)
            ),
            strict=True,
        )
        assert np.allclose(lamps[1], 0.5 * lamps[0])
        assert np.allclose(heads[1], 0.5 * heads[0])
        assert heads[0].any()
