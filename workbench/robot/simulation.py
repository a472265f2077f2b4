"""One simulated robot: its state, its frames, and the actions of a scripted expert.

Meta-World's observation contains the object's position even if the goal is hidden. A policy gets
only the first four numbers, hand and gripper; the expert gets all of them.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np

from feature_store.errors import InputError
from workbench.robot.config import ACTION_RANGE, STATE_SIZE, Task

VIEW = "corner2"
"""Meta-World's camera; its pictures are upside down."""
PACKAGES = ("metaworld", "mujoco")
"""Packages that decide the physics."""
FPS = 80
"""Control steps per second of simulated time, Meta-World's."""
POLICIES = {
    "pick-place-v3": "SawyerPickPlaceV3Policy",
    "push-v3": "SawyerPushV3Policy",
    "drawer-open-v3": "SawyerDrawerOpenV3Policy",
}


@dataclass(frozen=True)
class Step:
    """Outcome of a step."""

    state: np.ndarray
    """float32, dims (4,): proprioception after the step."""
    grasped: bool
    """Whether the object is lifted in the gripper, or a drawer is open."""
    placed: bool
    """Whether the object is at the goal, or a drawer is open."""


def versions() -> dict[str, str]:
    """Versions of the simulator.

    Raises
    ------
    InputError
        A package of it is not installed.
    """
    for name in PACKAGES:
        if find_spec(name) is None:
            raise InputError(
                f"the simulation needs the package {name!r}, which is not installed; run "
                f"'bash scripts/setup.sh robot' in the clone"
            )
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def require_versions(recorded: Mapping[str, str]) -> None:
    """Refuse a simulator of another version than recorded, since its physics may differ."""
    found = versions()
    for name, version in recorded.items():
        if found.get(name) != version:
            raise InputError(
                f"the demonstrations were recorded with {name} {version}, and {found.get(name)} "
                f"is installed; physics may differ: pip install {name}=={version}, or record "
                f"the demonstrations again"
            )


class Simulation:
    """A task of Meta-World at seeded positions.

    Parameters
    ----------
    size : int
        Side of square frames in pixels.
    camera_shift : float
        Metres by which the camera is moved along the world's x axis. In the camera's axes that is
        0.75 of the way backwards, 0.55 to the left and 0.38 up, of a picture that :meth:`frame`
        turns by 180 degrees.
    light : float
        Factor on the ambient, diffuse and specular intensities of all lamps and of the headlight.
        Lit surfaces follow it until a colour reaches its limit; the background is not lit and stays
        as it is.

    Raises
    ------
    InputError
        A package is not installed.

    Notes
    -----
    Without a driver for pictures everything works except :meth:`frame`.
    """

    def __init__(
        self, task: Task, size: int, *, camera_shift: float = 0.0, light: float = 1.0
    ) -> None:
        versions()
        _no_pictures()
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
        head = model.vis.headlight
        for intensity in (
            model.light_ambient, model.light_diffuse, model.light_specular,
            head.ambient, head.diffuse, head.specular,
        ):  # fmt: skip
            intensity[:] *= light
        # A frame costs a tenth on a CPU without shadows and multisampling; set before the first.
        model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, size)
        model.vis.global_.offheight = max(model.vis.global_.offheight, size)
        self._seen = np.zeros(0)

    def reset(self, seed: int, position: int) -> np.ndarray:
        """Place object and goal by seed and position; returns the state, float32, dims (4,)."""
        import mujoco

        number = np.random.SeedSequence((seed, position)).generate_state(1)[0]
        self._env.seed(int(number))
        self._env.reset()
        # reset() moves the goal's site and the drawer last and updates nothing after that.
        mujoco.mj_forward(self._env.model, self._env.data)
        self._seen = self._env._get_obs()
        self._seen[18:36] = self._seen[:18]  # no earlier observation exists
        return self.state

    @property
    def state(self) -> np.ndarray:
        """Input of a policy: hand position in metres and gripper opening, float32, dims (4,)."""
        return self._seen[:STATE_SIZE].astype(np.float32)

    def act(self, action: np.ndarray) -> Step:
        """Take a step: movement of the hand (3) and effort of the gripper, each within -1 and 1.

        Raises
        ------
        InputError
            Another number of values, or values that are not finite.
        """
        refuse_action(action)
        self._seen, _, _, _, info = self._env.step(np.asarray(action, np.float32))
        placed = bool(info["success"])
        # Meta-World's grasp_success means "gripper not shut" for a drawer.
        grasped = placed if self.task == "drawer-open-v3" else bool(info["grasp_success"])
        return Step(self.state, grasped, placed)

    def expert(self) -> np.ndarray:
        """Action of the scripted expert, which sees everything: float32, dims (4,)."""
        with warnings.catch_warnings(action="ignore"):  # clipped here, as the simulation clips
            action = self._expert.get_action(self._seen)
        return np.clip(action, *ACTION_RANGE).astype(np.float32)

    def frame(self) -> np.ndarray:
        """Render the camera's picture: RGB uint8, dims (row, col, 3).

        Raises
        ------
        InputError
            The machine cannot render without a display, or not frames of this size.
        """
        self._renderer.update_scene(self._env.data, camera=VIEW)
        return self._renderer.render()[::-1, ::-1].copy()

    def close(self) -> None:
        """Free the renderer."""
        if "_renderer" in vars(self):
            self._renderer.close()

    @cached_property
    def _renderer(self) -> Any:
        if reason := _no_pictures():
            raise _cannot_render(reason)
        try:
            import mujoco

            # torch's optimisers import triton, whose LLVM crashes if Mesa's was loaded before.
            with suppress(ImportError):
                import triton  # noqa: F401

            return mujoco.Renderer(self._env.model, self.size, self.size)
        except Exception as error:
            if "offscreen" in str(error).lower():  # MuJoCo's buffer: the driver itself works
                raise InputError(
                    f"the graphics driver cannot draw frames of {self.size} x {self.size} pixels "
                    f"({_line(error)}); choose a smaller --size"
                ) from None
            raise _cannot_render(_line(error)) from None


@cache
def _no_pictures() -> str:
    """Import MuJoCo; returns why it cannot render, or an empty text.

    MuJoCo loads the driver as it is imported. If that fails it is imported without one, for trials
    that need no picture.
    """
    if sys.platform == "linux":  # MuJoCo refuses egl elsewhere; macOS draws without being told
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco
    except Exception as error:  # PyOpenGL and MuJoCo raise many kinds for a missing driver
        reason, wanted = _line(error), os.environ.get("MUJOCO_GL", "")
    else:
        return "" if hasattr(mujoco.gl_context, "GLContext") else "rendering is disabled"
    os.environ["MUJOCO_GL"] = "disable"
    try:
        import mujoco
    finally:
        del os.environ["MUJOCO_GL"]
        if wanted:
            os.environ["MUJOCO_GL"] = wanted
    return reason


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _cannot_render(reason: str) -> InputError:
    remedy = "unset MUJOCO_GL, and start from a session on this machine's own desktop"
    if sys.platform == "linux":
        remedy = (
            "install EGL (Debian: apt-get install libegl1), or set MUJOCO_GL=osmesa and install "
            "libosmesa6"
        )
    chosen = os.environ.get("MUJOCO_GL", "")
    return InputError(
        f"this machine cannot render without a display (MUJOCO_GL={chosen}; {reason}); {remedy}"
    )


def refuse_action(action: np.ndarray) -> None:
    """Refuse an action of another size, or with values that are not finite."""
    if np.shape(action) != (4,):
        raise InputError(f"an action has the shape {np.shape(action)}, expected (4,)")
    if not np.isfinite(action).all():
        raise InputError(f"an action is {np.asarray(action).tolist()}; expected finite numbers")
