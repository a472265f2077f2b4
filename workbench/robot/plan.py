"""Estimate the cost of a policy's vision model in bytes and hours, without reading weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feature_store import Source
from workbench.cost import cost
from workbench.cost.hours import TFLOPS, gpu_hours
from workbench.models import clip_checkpoints
from workbench.models.names import ModelName
from workbench.robot.config import PolicyConfig, RolloutConfig


def plan(source: str, frames: int, config: PolicyConfig, trials: RolloutConfig) -> dict[str, Any]:
    """Cost of encoding the demonstrations once, and of encoding live frames in trials.

    Returns
    -------
    dict
        ``gmacs_per_frame``, ``gmacs_per_step`` (of control), ``params``, ``feature_bytes``,
        ``demonstration_gpu_hours`` and ``trial_gpu_hours``, see
        :func:`~workbench.cost.hours.gpu_hours`, with trials of the greatest length;
        ``missing_file``: checkpoint of a ``file:`` model that does not exist (its architecture is
        counted all the same), or None.

    Raises
    ------
    InputError
        As :func:`workbench.cost.cost`.
    """
    name = Source.parse(source)
    missing = missing_file(name.model)
    counted = name.model if missing is None else untrained(name.model)
    found = cost(counted, name.scales, tap=name.tap)
    hours = gpu_hours(found.gmacs)
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
        "missing_file": missing,
    }


def missing_file(model: str) -> str | None:
    """The checkpoint of a ``file:`` model if it does not exist; None otherwise."""
    path = ModelName.parse(model).path if model.startswith("file:") else None
    return None if path is None or Path(path).expanduser().exists() else path


def untrained(model: str) -> str:
    """The ``random:`` model with the architecture of a ``file:`` model.

    Examples
    --------
    >>> untrained("file:vit_large_patch16_224.mae:224:mvp.pth")
    'random:timm:vit_large_patch16_224.mae:224'
    """
    name = ModelName.parse(model)
    kind = "open_clip" if clip_checkpoints.is_known(name) else "timm"
    arch = name.arch.partition("/")[0] if kind == "open_clip" else name.arch
    return str(ModelName(kind=kind, arch=arch, pixels=name.pixels, random=True))
