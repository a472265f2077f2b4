"""One simulated robot: what a policy may see of it, its frames, and what an expert would do.

Meta-World's observation holds the object's position, even where the goal is hidden. A policy gets
the first four numbers alone: hand and gripper. Only the expert sees the rest.
"""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np

from feature_store.errors import InputError
from workbench.robot.config import STATE_SIZE, Task

VIEW = "corner2"
"""Meta-World's camera; it hangs upside down."""
PACKAGES = ("metaworld", "mujoco")
"""What decides the physics."""
FPS = 80
"""Control steps per second of simulated time, Meta-World's."""
POLICIES = {
    "pick-place-v3": "SawyerPickPlaceV3Policy",
    "push-v3": "SawyerPushV3Policy",
    "drawer-open-v3": "SawyerDrawerOpenV3Policy",
}


@dataclass(frozen=True)
class Step:
    """What a step led to.

    Attributes
    ----------
    state : float32 array, dims (4,)
        Proprioception after the step.
    grasped, placed : bool
        The object is lifted in the gripper; it is at the goal. A drawer is not lifted: there both
        say that it is open.
    """

    state: np.ndarray
    grasped: bool
    placed: bool


def versions() -> dict[str, str]:
    """Versions of the simulator.

    Raises
    ------
    InputError
        It is not installed.
    """
    for name in PACKAGES:
        if find_spec(name) is None:
            raise InputError(
                f"the simulation needs the package {name!r}, which is not installed: "
                f"pip install 's2-workbench[robot]'"
            )
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def require_versions(recorded: Mapping[str, str]) -> None:
    """Refuse another simulator than the one that was recorded.

    Raises
    ------
    InputError
        Physics may have changed, so that trials would not be of the recorded robot.
    """
    found = versions()
    for name, version in recorded.items():
        if found.get(name) != version:
            raise InputError(
                f"the demonstrations were recorded with {name} {version}, and {found.get(name)} "
                f"is installed; physics may differ: pip install {name}=={version}, or record "
                f"them again"
            )


class Simulation:
    """A task of Meta-World at seeded positions.

    Parameters
    ----------
    task : str
    size : int
        Side of square frames in pixels.
    camera_shift : float
        Metres by which the camera is moved sideways.
    light : float
        Factor of all lights.

    Raises
    ------
    InputError
        A package is not installed.
    """

    def __init__(
        self, task: Task, size: int, *, camera_shift: float = 0.0, light: float = 1.0
    ) -> None:
        versions()
        os.environ.setdefault("MUJOCO_GL", "egl")
        from metaworld import policies
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        self.task, self.size = task, size
        self._env: Any = ALL_V3_ENVIRONMENTS[task]()
        self._env._partially_observable = False  # the expert sees the goal
        vars(self._env).pop("sawyer_observation_space", None)  # its bounds would hide it
        self._env._set_task_called = True
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        self._expert: Any = getattr(policies, POLICIES[task])()
        model = self._env.model
        model.cam(VIEW).pos[0] += camera_shift
        model.light_diffuse[:] *= light
        for lamp in (model.vis.headlight.ambient, model.vis.headlight.diffuse):
            lamp[:] *= light
        # A frame costs a tenth on a CPU without shadows and multisampling; set before the first.
        model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, size)
        model.vis.global_.offheight = max(model.vis.global_.offheight, size)
        self._seen = np.zeros(0)

    def reset(self, seed: int, position: int) -> np.ndarray:
        """Start at a position; the state, float32, dims (4,).

        Parameters
        ----------
        seed, position : int
            Object and goal depend on both, and on nothing else.
        """
        import mujoco

        number = np.random.SeedSequence((seed, position)).generate_state(1)[0]
        self._env.seed(int(number))
        self._env.reset()
        # It moves the goal's site and the drawer last, and computes nothing from them.
        mujoco.mj_forward(self._env.model, self._env.data)
        self._seen = self._env._get_obs()
        self._seen[18:36] = self._seen[:18]  # there is no observation before the first
        return self.state

    @property
    def state(self) -> np.ndarray:
        """What a policy may know: hand position in metres and opening of the gripper, float32."""
        return self._seen[:STATE_SIZE].astype(np.float32)

    def act(self, action: np.ndarray) -> Step:
        """Take a step.

        Parameters
        ----------
        action : float array, dims (4,)
            Movement of the hand and effort of the gripper, each within -1 and 1.

        Raises
        ------
        InputError
            Another number of values, or values that are not finite.
        """
        refuse_action(action)
        self._seen, _, _, _, info = self._env.step(np.asarray(action, np.float32))
        placed = bool(info["success"])
        # Meta-World's value for a drawer says only that the gripper is not shut.
        grasped = placed if self.task == "drawer-open-v3" else bool(info["grasp_success"])
        return Step(self.state, grasped, placed)

    def expert(self) -> np.ndarray:
        """What the scripted expert does now, which sees everything: float32, dims (4,)."""
        with warnings.catch_warnings(action="ignore"):  # clipped here, as the simulation clips
            action = self._expert.get_action(self._seen)
        return np.clip(action, -1, 1).astype(np.float32)

    def frame(self) -> np.ndarray:
        """The camera's picture, RGB uint8, dims (row, col, 3).

        Raises
        ------
        InputError
            No headless rendering on this machine.
        """
        self._renderer.update_scene(self._env.data, camera=VIEW)
        return self._renderer.render()[::-1, ::-1].copy()

    def close(self) -> None:
        """Free the renderer."""
        if "_renderer" in vars(self):
            self._renderer.close()

    @cached_property
    def _renderer(self) -> Any:
        # PyOpenGL's and MuJoCo's errors of a missing driver are of many kinds.
        try:
            import mujoco

            # torch's optimisers import triton, whose LLVM crashes where Mesa's was loaded before.
            with suppress(ImportError):
                import triton  # noqa: F401

            return mujoco.Renderer(self._env.model, self.size, self.size)
        except Exception as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"this machine cannot render without a display (MUJOCO_GL="
                f"{os.environ.get('MUJOCO_GL')}; {line}); install EGL (Debian: apt-get install "
                f"libegl1), or set MUJOCO_GL=osmesa and install libosmesa6"
            ) from None


def refuse_action(action: np.ndarray) -> None:
    """Refuse an action that the simulated robot cannot take.

    Raises
    ------
    InputError
    """
    if np.shape(action) != (4,):
        raise InputError(f"an action has the shape {np.shape(action)}, expected (4,)")
    if not np.isfinite(action).all():
        raise InputError(f"an action is {np.asarray(action).tolist()}; expected finite numbers")
