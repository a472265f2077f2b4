"""Estimate the cost of a policy's vision model in bytes and hours, without reading weights."""

from __future__ import annotations

from typing import Any

from feature_store import Source
from workbench.cost import cost
from workbench.robot.config import PolicyConfig, RolloutConfig

TFLOPS = 200.0
"""Sustained TFLOP/s assumed, not measured; as in ``workbench tables --dry-run``."""


def plan(source: str, frames: int, config: PolicyConfig, trials: RolloutConfig) -> dict[str, Any]:
    """Cost of encoding the demonstrations once, and of encoding live frames in trials.

    Returns
    -------
    dict
        ``gmacs_per_frame``, ``gmacs_per_step`` (of control), ``params``, ``feature_bytes``,
        ``demonstration_gpu_hours`` and ``trial_gpu_hours``: 2 x GMACs x frames over
        :data:`TFLOPS`, with trials of the greatest length.

    Raises
    ------
    InputError
        As :func:`workbench.cost.cost`.
    """
    name = Source.parse(source)
    found = cost(name.model, name.scales, tap=name.tap)
    hours = 2e9 * found.gmacs / (TFLOPS * 1e12) / 3600
    looks = -(-trials.max_steps // config.look_every)
    return {
        "source": source,
        "frames": frames,
        "params": found.params,
        "gmacs_per_frame": found.gmacs,
        "gmacs_per_step": found.gmacs / config.look_every,
        "feature_bytes": found.bytes_per_image * frames,
        "demonstration_gpu_hours": hours * frames,
        "trial_gpu_hours": hours * looks * trials.positions,
        "assumed_tflops": TFLOPS,
    }
