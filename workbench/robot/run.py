"""Load the policy of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_store.errors import InputError
from workbench.results.messages import note
from workbench.robot.config import PolicyConfig, idle
from workbench.robot.eyes import Eyes, Sight
from workbench.robot.policy import Policy, Scales
from workbench.training import checkpoints
from workbench.training.files import IDENTITY
from workbench.training.status import is_run, read_record


@dataclass(frozen=True)
class Cloned:
    """A trained policy and its inputs."""

    policy: Policy
    """Policy in evaluation mode, with its best weights."""
    source: str
    """Source of its visual features; empty for a blind policy."""
    pooling: str
    """Pooling of these features; empty for a blind policy."""
    identity: dict[str, Any]
    """Identity of the run."""
    step: int
    """Step of the weights."""


@dataclass(frozen=True)
class Finished:
    """What the folder of a finished run holds."""

    identity: dict[str, Any]
    """Identity of the run."""
    step: int
    """Step of the best weights."""
    weights: dict[str, Any]
    """The best weights: name to tensor."""


def finished(folder: Path) -> Finished:
    """Read a run without building its policy.

    Raises
    ------
    InputError
        The folder holds no run of ``workbench robot train``, or its training is not finished.
    """
    if not is_run(folder):
        raise InputError(f"{folder} holds no run ({IDENTITY}); train one: workbench robot train")
    identity = read_record(folder)["identity"]
    if "sight" not in identity:
        raise InputError(f"{folder} holds a run of another kind, not of workbench robot train")
    latest = checkpoints.latest(folder, note)
    state = None if latest is None else torch.load(latest, map_location="cpu", weights_only=True)
    training, best = identity["training"], (state or {}).get("best", {})
    step = 0 if state is None else state["step"]
    waited = training["patience"] is not None and best.get("since", 0) >= training["patience"]
    if state is None or (step < training["iterations"] and not waited):
        raise InputError(
            f"{folder} is trained to step {step} of {training['iterations']}; repeat workbench "
            f"robot train to finish it"
        )
    return Finished(identity, best.get("step") or step, best.get("weights") or state["model"])


def load(folder: Path, device: str = "cpu") -> Cloned:
    """Build the policy of a finished run; raises as :func:`finished` does."""
    run = finished(folder)
    identity = run.identity
    options = identity["policy"]
    kept = {name: value for name, value in options.items() if name not in idle(options)}
    config = PolicyConfig(**kept, device=device)
    eyes, pooling = None, ""
    if identity["sight"] is not None:
        pooling, tokens, channels = identity["sight"]
        blank = np.zeros(channels)
        eyes = Eyes(
            Sight(pooling, (tokens, channels), blank, blank), config.width, norm=config.layer_norm
        )
    scales = Scales(*((np.zeros(size), np.ones(size)) for size in identity["sizes"]))
    policy = Policy(config, eyes, scales)
    policy.load_state_dict(run.weights)
    return Cloned(policy.to(device).eval(), identity["source"], pooling, identity, run.step)
