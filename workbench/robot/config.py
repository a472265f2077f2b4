"""Options of demonstrations, policies and trials. Importing this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from feature_store.errors import (
    InputError,
    require_at_least,
    require_choices,
    require_positive,
)

Task = Literal["pick-place-v3", "push-v3", "drawer-open-v3"]
"""Tasks of Meta-World with a scripted expert; the first is the paper's cube picking."""
PICKING: Task = "pick-place-v3"
"""The task in which lifting the object counts as success."""
MOST_STEPS = 500
"""Steps of a trial that Meta-World allows."""
CAMERA = "observation.images.corner2"
"""Feature that holds the frames of recorded demonstrations."""
STATE, ACTION = "observation.state", "action"
"""Names of proprioception and actions in LeRobot's convention."""
STATE_SIZE, ACTION_SIZE = 4, 4
"""Values of a state: hand position (3) and gripper opening; of an action: hand movement (3) and
gripper effort."""
ACTION_RANGE = (-1.0, 1.0)
"""Range of each value of an action in simulation; actions are clipped to it."""
LARGEST_FRAME = 2048
"""Side of the largest frame in pixels, which every driver draws off screen."""
FILM_SIDE, FILM_STRIDE = 224, 3
"""Side of filmed frames in pixels, and steps from one to the next."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Demonstrations to record."""

    task: Task = "pick-place-v3"
    """Task of Meta-World."""
    episodes: int = 120
    """Demonstrations; 120 as published."""
    seed: int = 0
    """Fixes start and goal positions."""
    size: int = 448
    """Side of the recorded square frames in pixels."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, episodes=1, size=32, seed=0)
        if self.size > LARGEST_FRAME:
            raise InputError(f"size is {self.size}; expected at most {LARGEST_FRAME} pixels")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Inputs, outputs and training of a policy."""

    policy: Literal["transformer", "mlp"] = "transformer"
    """transformer over the last steps, as published; or mlp on the present step, as in MVP."""
    pooling: Literal["auto", "prefix", "mean", "attention", "map"] = "auto"
    """Visual features of a frame: prefix tokens (the paper's), mean over tokens, attention over the
    token map, or the whole map, reduced; auto is prefix if the model has some, else map."""
    layer_norm: bool = False
    """Train a layer norm, from weights of 1, on the features of all scales together: for the tap
    before a ViT's last norm, where MVP trains its pretrained one."""
    blind: bool = False
    """Leave out visual features, to measure what proprioception and past actions alone achieve."""
    past_actions: bool = True
    """Whether past actions are an input of the policy; --no-past-actions leaves them out."""
    context: int = 16
    """Past steps that the policy takes as input; 16 as published."""
    horizon: int = 16
    """Steps that the policy predicts; 16 as published."""
    look_every: int = 1
    """Steps between looks: frames are encoded and actions predicted at looks only."""
    width: int = 128
    """Channels inside the policy."""
    layers: int = 4
    """Layers of the transformer."""
    dropout: float = 0.1
    """Share of channels that training drops."""
    batch: int = 32
    """Windows of steps in a training step."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW; warm-up over 5 % of the steps, then a cosine to 0."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    validation_share: float = 0.1
    """Share of the episodes that are used for validation; at least one."""
    device: str = "cpu"
    """Torch device of the policy."""

    def __post_init__(self) -> None:
        require_choices(self)
        _require_finite(self)
        require_at_least(
            self, context=1, horizon=1, look_every=1, width=8, layers=1, batch=1, dropout=0,
            weight_decay=0,
        )  # fmt: skip
        if self.dropout >= 1:
            raise InputError(f"dropout is {self.dropout}; expected at least 0 and below 1")
        if self.look_every > min(self.horizon, self.context):
            raise InputError(
                f"look_every is {self.look_every}; expected at most context and horizon "
                f"({self.context}, {self.horizon}): actions between looks must be predicted"
            )
        if not 0 < self.validation_share < 1:
            raise InputError(
                f"validation_share is {self.validation_share}; expected between 0 and 1"
            )
        require_positive(self, "learning_rate")
        if self.width % 8:
            raise InputError(f"width must be a multiple of 8, got {self.width}")
        if self.device.partition(":")[0] == "meta":
            raise InputError(f"device is {self.device!r}; name cpu, cuda or cuda:1")
        defaults = {field.name: field.default for field in fields(self)}
        for name, why in idle(vars(self)).items():
            if getattr(self, name) != defaults[name]:
                raise InputError(
                    f"{name} is {getattr(self, name)}, which changes nothing with {why}; leave out "
                    f"one or the other"
                )


IDLE: dict[tuple[str, Any], tuple[str, ...]] = {
    ("policy", "mlp"): ("layers", "dropout", "past_actions"),
    ("blind", True): ("pooling", "layer_norm"),
}
"""Option and its value to the options that then change nothing."""


def idle(options: Mapping[str, Any]) -> dict[str, str]:
    """Options of a policy that change nothing: name to the reason.

    Examples
    --------
    >>> idle({"policy": "transformer", "blind": True})
    {'pooling': 'blind True', 'layer_norm': 'blind True'}
    """
    return {
        name: f"{option} {value}"
        for (option, value), names in IDLE.items()
        if options[option] == value
        for name in names
    }


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Trials of a policy in simulation."""

    positions: int = 200
    """Trials, from positions 0, 1, ... of the seed; 16 as published, from positions that are not
    published."""
    seed: int = 1
    """Fixes the positions; must differ from the seed of the demonstrations."""
    max_steps: int = 150
    """Steps after which a trial counts as failed; at most 500, Meta-World's limit."""
    success: Literal["auto", "grasp", "placed"] = "auto"
    """Criterion of success_rate: the object is lifted (as in the paper) or placed. auto is grasp
    for pick-place-v3 and placed for the other tasks; both are reported."""
    ensemble: float | None = None
    """Average overlapping predictions of a step with weights exp(-VALUE * age rank), oldest first;
    by default only the latest prediction counts."""
    environments: int = 0
    """Simulations that run at a time, each in a process; 0 for one per processor."""
    camera_shift: float = 0.0
    """Metres by which the camera is moved along the world's x axis: in the camera's axes mostly
    backwards (0.75 of the way), partly left (0.55) and up (0.38)."""
    light: float = 1.0
    """Factor on the ambient, diffuse and specular light of all lamps and of the headlight; the
    background is not lit and stays as it is."""

    def __post_init__(self) -> None:
        require_choices(self)
        _require_finite(self)
        require_at_least(self, positions=1, max_steps=1, environments=0, seed=0, light=0)
        require_at_least(self, ensemble=0)
        if self.max_steps > MOST_STEPS:
            raise InputError(f"max_steps is {self.max_steps}; expected at most {MOST_STEPS}")

    def criterion(self, task: str) -> Literal["grasp", "placed"]:
        """The criterion of success in a task."""
        if self.success != "auto":
            return self.success
        return "grasp" if task == PICKING else "placed"


def _require_finite(config: Any) -> None:
    """Refuse a config in which a number is NaN or infinite."""
    for name, value in vars(config).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} is {value}; expected a finite number")
