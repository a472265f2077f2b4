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
    """A batch of windows: the input of a policy.

    Attributes
    ----------
    state : float32 tensor, dims (window, step, value)
    known : bool tensor, dims (window, step)
        False before an episode's first step.
    past : float32 tensor, dims (window, step, value)
        Action that was taken before each step.
    past_known : bool tensor, dims (window, step)
    visual : float32 tensor or None, dims (window, look, ...)
        Features of the frames at :func:`looks`; None for a blind policy.
    future : float32 tensor or None, dims (window, look, horizon, value)
        Actions from each look on; None outside training.
    future_known : bool tensor or None, dims (window, look, horizon)
        False beyond an episode's last step.
    """

    state: torch.Tensor
    known: torch.Tensor
    past: torch.Tensor
    past_known: torch.Tensor
    visual: torch.Tensor | None
    future: torch.Tensor | None = None
    future_known: torch.Tensor | None = None

    def to(self, device: str) -> WindowBatch:
        """Copy to a device."""
        moved: dict[str, Any] = {n: v if v is None else v.to(device) for n, v in vars(self).items()}
        return WindowBatch(**moved)


@dataclass(frozen=True)
class WindowRows:
    """Frame numbers of windows; steps before an episode repeat its first frame.

    Attributes
    ----------
    steps : int64 array, dims (window, step)
    known : bool array, dims (window, step)
    seen : int64 array, dims (window, look)
    future : int64 array, dims (window, look, horizon)
    future_known : bool array, dims (window, look, horizon)
    """

    steps: np.ndarray
    known: np.ndarray
    seen: np.ndarray
    future: np.ndarray
    future_known: np.ndarray


def window_rows(
    last: np.ndarray, demonstrations: Demonstrations, config: PolicyConfig
) -> WindowRows:
    """Frame numbers of the windows that end at these frames; no window leaves its episode.

    Parameters
    ----------
    last : int array, dims (window,)
    demonstrations : Demonstrations
    config : PolicyConfig
    """
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
    """Read the states and actions of windows.

    Parameters
    ----------
    rows : WindowRows
    demonstrations : Demonstrations
    visual : tensor, dims (window, look, ...)
        Features of the frames ``rows.seen``.
    """
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
