"""A robot in the plane, its demonstrations, and the features that a fixed linear map sees."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import feature_store
from workbench.robot import demonstrations
from workbench.robot.lerobot_files import write_episode, write_meta
from workbench.robot.simulation import Step

SOURCE = "toy:plane#all@4"
FPS = 80
SPEED, REACH = 0.12, 0.15


class Plane:
    """A hand moves to a target that only the picture shows; state: hand x, y, 0, 0."""

    def reset(self, seed, position):
        rng = np.random.default_rng((seed, position))
        angle, self.hand = rng.uniform(0, 2 * np.pi), np.zeros(2)
        self.target = rng.uniform(0.5, 0.9) * np.array([np.cos(angle), np.sin(angle)])
        return self.state

    @property
    def state(self):
        return np.array([*self.hand, 0, 0], np.float32)

    @property
    def near(self):
        return float(np.linalg.norm(self.target - self.hand)) < REACH

    def act(self, action):
        self.hand = self.hand + SPEED * np.clip(action[:2], -1, 1)
        return Step(self.state, self.near, self.near and action[3] > 0)

    def expert(self):
        wanted = np.clip((self.target - self.hand) / SPEED, -1, 1)
        return np.array([*wanted, 0, 1], np.float32)

    def frame(self):
        """4 x 4 pixels, of whose colours two are the target."""
        shade = np.round((self.target + 1) * 127)
        return np.broadcast_to(np.array([*shade, 99], np.uint8), (4, 4, 3)).copy()

    def close(self):
        pass


def encode(frames):
    """Frames to token maps, dims (frame, 1, 1, 5): a fixed linear map."""
    mix = np.random.default_rng(5).normal(size=(3, 5)).astype(np.float32)
    return (frames.mean((1, 2), dtype=np.float32) / 127 - 1)[:, None, None] @ mix


def written(folder, episodes=60, seed=0, robot=None):
    """Demonstrations in the layout that is recorded; their frames."""
    robot, first, kept, pictures = robot or Plane(), 0, [], []
    for index in range(episodes):
        state = robot.reset(seed, index)
        rows = {"state": [], "action": [], "grasped": [], "placed": []}
        frames = []
        for _ in range(20):
            pictures.append(robot.frame())
            frames.append(_png(pictures[-1]))
            action = robot.expert()
            step = robot.act(action)
            for name, value in zip(rows, (state, action, step.grasped, step.placed), strict=True):
                rows[name].append(value)
            state = step.state
            if step.placed:
                break
        steps = {name: np.stack(values) for name, values in rows.items()}
        kept.append(write_episode(folder, index, steps, frames, first=first, fps=FPS))
        first += len(frames)
    write_meta(folder, kept, task="plane", size=4, fps=FPS)
    return np.stack(pictures)


def _png(frame):
    encoded = io.BytesIO()
    Image.fromarray(frame).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    """Demonstrations of the plane with the store of their features; read only."""
    pytest.importorskip("pyarrow", reason="needs the extra robot")
    folder = tmp_path_factory.mktemp("plane")
    frames = written(folder / "demos")
    given = demonstrations.load(folder / "demos")
    store = feature_store.import_features(
        folder / "s.zarr", encode(frames), source=SOURCE, image_ids=given.image_ids,
        manifest={"tool": "test"}, dataset=f"lerobot:{folder / 'demos'}",
    )  # fmt: skip
    return SimpleNamespace(
        folder=folder, demos=folder / "demos", store=store, given=given, frames=frames,
        source=SOURCE, encode=encode, robot=Plane,
    )  # fmt: skip


@pytest.fixture
def demos(tmp_path):
    """Writes a few demonstrations to spoil; returns their folder and a function to edit JSON."""
    pytest.importorskip("pyarrow", reason="needs the extra robot")

    def edit(path, change):
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    folder = tmp_path / "demos"
    written(folder, episodes=3)
    return SimpleNamespace(folder=folder, edit=edit, written=written)
