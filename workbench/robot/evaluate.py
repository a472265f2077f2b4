"""Evaluate a finished run: run the missing trials, film some, and summarise all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analyses.reading.progress import shown
from feature_store.errors import InputError
from feature_store.source import Source
from workbench.models.run_names import find_run
from workbench.results.files import require_folder
from workbench.robot import run as runs
from workbench.robot.config import (
    ACTION_RANGE,
    ACTION_SIZE,
    STATE_SIZE,
    PolicyConfig,
    RolloutConfig,
)
from workbench.robot.environments import Environments, default_count
from workbench.robot.film import EACH, chosen, write_film
from workbench.robot.live import live_encoder
from workbench.robot.rollout import Controller, control_frequency, roll
from workbench.robot.simulation import FPS, Simulation, require_versions, versions
from workbench.robot.trials import CRITERIA, TrialLog, summary, trial_identity


def evaluate(
    folder: Path,
    config: RolloutConfig,
    log: Callable[[str], None],
    *,
    video: Path | None = None,
    encoder: str | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> dict[str, Any]:
    """Success rates of a run, and the settings of their measurement.

    Parameters
    ----------
    folder : Path
        Folder of the run. It keeps the trials, and existing trials are not repeated.
    video : Path, optional
        Folder for ``trials.gif``; some trials are run again to film them.
    encoder : str, optional
        ``run:FOLDER`` of the vision model, if it was trained here.
    device : str
        Torch device of model and policy.

    Raises
    ------
    InputError
        The run is not finished, or was not trained on this simulation; the simulator has another
        version; the seed repeats the positions of the demonstrations; there are no overlapping
        predictions to average; the vision model has changed; the machine cannot render; `video` is
        a file.
    """
    if video is not None:
        require_folder(video, "--video")
    cloned = runs.load(folder, device)
    recording = cloned.identity["recording"]
    require_simulated(folder, cloned.identity)
    require_versions(recording["versions"])
    _require_new_positions(config, recording)
    _require_overlap(config, cloned.policy.config)
    success = config.criterion(recording["task"])
    encode = None
    if cloned.source:
        find_run(Source.parse(cloned.source).model, encoder)
        encode = live_encoder(
            cloned.source, cloned.pooling, dtype=cloned.identity["dtype"], device=device,
            features=cloned.identity.get("vision"),
        )  # fmt: skip
    controller = Controller(cloned.policy, encode, config.ensemble, device, within=ACTION_RANGE)
    look = {"camera_shift": config.camera_shift, "light": config.light}
    make = partial(Simulation, recording["task"], recording["size"], **look)
    kept = TrialLog(folder, trial_identity(config, cloned.identity, cloned.step, device))
    trials = kept.read()
    missing = [position for position in range(config.positions) if position not in trials]
    start, steps = time.perf_counter(), 0
    with (
        Environments(make, _simulations(config, len(missing), video is not None)) as robots,
        shown("trials", total=len(missing), unit="trial", wanted=progress) as bar,
    ):
        for trial in roll(controller, robots, missing, config):
            kept.add(trial)
            trials[trial.position] = trial
            steps += trial.steps
            bar.update()
        seconds = time.perf_counter() - start
        asked = [trials[position] for position in range(config.positions)]
        if video is not None:
            wanted = [trial.position for trial in chosen(asked, CRITERIA[success])]
            again = roll(controller, robots, wanted, config, filmed=lambda _: True)
            filmed = sorted(again, key=lambda trial: wanted.index(trial.position))
            log(f"wrote {write_film(filmed, CRITERIA[success], video)}")
    found = summary(asked, success)
    frame = np.zeros((recording["size"], recording["size"], 3), np.uint8)
    return found | {
        "hz": control_frequency(controller, frame),
        "steps_per_s": steps / seconds if steps else None,
        "run": str(folder),
        "task": recording["task"],
        "source": cloned.source,
        "best_step": cloned.step,
        "options": asdict(config),
        "versions": versions(),
    }


def _simulations(config: RolloutConfig, missing: int, filmed: bool) -> int:
    """Number of simulations: at most one for each trial that is to run, or to run again."""
    trials = max(missing, min(2 * EACH, config.positions) if filmed else 0)
    return min(config.environments or default_count(), trials)


def _require_new_positions(config: RolloutConfig, recording: dict[str, Any]) -> None:
    """Refuse trials from the positions that were demonstrated."""
    if config.seed == recording["seed"]:
        raise InputError(
            f"--seed is {config.seed}, the seed of the demonstrations, so that trials would repeat "
            f"their positions; expected another seed, such as --seed {config.seed + 1}"
        )


def _require_overlap(config: RolloutConfig, policy: PolicyConfig) -> None:
    """Refuse to average predictions that do not overlap."""
    if config.ensemble is not None and policy.look_every == policy.horizon:
        raise InputError(
            f"ensemble is {config.ensemble}, but the policy predicts {policy.horizon} steps and "
            f"looks at every {policy.look_every}th, so that no predictions overlap; leave out "
            f"--ensemble, or train with a smaller --look-every"
        )


def require_simulated(folder: Path, identity: dict[str, Any]) -> None:
    """Refuse a run whose policy the simulated robot cannot carry out.

    Raises
    ------
    InputError
        The demonstrations were not recorded in simulation, or have other sizes or another rate.
    """
    recording = identity["recording"]
    if not recording.get("task"):
        raise InputError(
            f"the policy of {folder} was trained on demonstrations that workbench robot demos did "
            f"not record: their robot cannot be simulated, so that the policy can only be tried on "
            f"the robot itself (docs/robot.md)"
        )
    if identity["sizes"] != [STATE_SIZE, ACTION_SIZE]:
        raise InputError(
            f"the policy takes {identity['sizes'][0]} state values and gives "
            f"{identity['sizes'][1]} action values; expected {STATE_SIZE} and {ACTION_SIZE} for "
            f"{recording['task']}"
        )
    if identity["fps"] != FPS:
        raise InputError(
            f"the policy was trained at {identity['fps']:g} frames per second, but the simulation "
            f"runs at {FPS}; record the demonstrations again"
        )
