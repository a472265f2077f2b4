"""Windows of consecutive steps: past states and actions, looks, and the actions to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from workbench.robot.config import PolicyConfig
from workbench.robot.demonstrations import Demonstrations


def looks(config: PolicyConfig) -> np.ndarray:
    """Places in a window at which the policy looks, the last step among them: int64.

    Examples
    --------
    >>> looks(PolicyConfig(context=16, look_every=8)).tolist()
    [7, 15]
    """
    return np.arange((config.context - 1) % config.look_every, config.context, config.look_every)


@dataclass
class WindowBatch:
    """A batch of windows: the input of a policy."""

    state: torch.Tensor
    """float32, dims (window, step, value)."""
    known: torch.Tensor
    """bool, dims (window, step): False before an episode's first step."""
    past: torch.Tensor
    """float32, dims (window, step, value): action that was taken before each step."""
    past_known: torch.Tensor
    """bool, dims (window, step)."""
    visual: torch.Tensor | None
    """float32, dims (window, look, ...): features of the frames at :func:`looks`; None for a blind
    policy."""
    future: torch.Tensor | None = None
    """float32, dims (window, look, horizon, value): actions from each look on; None outside
    training."""
    future_known: torch.Tensor | None = None
    """bool, dims (window, look, horizon): False beyond an episode's last step."""

    def to(self, device: str) -> WindowBatch:
        """Copy to a device."""
        moved: dict[str, Any] = {n: v if v is None else v.to(device) for n, v in vars(self).items()}
        return WindowBatch(**moved)


@dataclass(frozen=True)
class WindowRows:
    """Frame numbers of windows; steps before an episode repeat its first frame."""

    steps: np.ndarray
    """int64, dims (window, step)."""
    known: np.ndarray
    """bool, dims (window, step)."""
    seen: np.ndarray
    """int64, dims (window, look)."""
    future: np.ndarray
    """int64, dims (window, look, horizon)."""
    future_known: np.ndarray
    """bool, dims (window, look, horizon)."""


def window_rows(
    last: np.ndarray, demonstrations: Demonstrations, config: PolicyConfig
) -> WindowRows:
    """Frame numbers of the windows that end at these frames; no window leaves its episode."""
    start = demonstrations.start[last][:, None]
    stop = demonstrations.stop[last][:, None, None]
    steps = last[:, None] + np.arange(1 - config.context, 1)
    known = steps >= start
    places = looks(config)
    future = steps[:, places, None] + np.arange(config.horizon)
    future_known = known[:, places, None] & (future < stop)
    return WindowRows(
        steps=np.maximum(steps, start),
        known=known,
        seen=np.maximum(steps[:, places], start),
        future=np.clip(future, start[..., None], stop - 1),
        future_known=future_known,
    )


def batch_of(
    rows: WindowRows, demonstrations: Demonstrations, visual: torch.Tensor | None
) -> WindowBatch:
    """Read the states and actions of windows; `visual` are the features of ``rows.seen``."""
    first = demonstrations.start[rows.steps[:, -1]][:, None]
    before = np.maximum(rows.steps - 1, first)
    return WindowBatch(
        state=torch.from_numpy(demonstrations.state[rows.steps]),
        known=torch.from_numpy(rows.known),
        past=torch.from_numpy(demonstrations.action[before]),
        past_known=torch.from_numpy(rows.known & (rows.steps > first)),
        visual=visual,
        future=torch.from_numpy(demonstrations.action[rows.future]),
        future_known=torch.from_numpy(rows.future_known),
    )
