"""Compare two runs over the same positions, from the trials that both have finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from analyses.statistics.trials import paired
from feature_store.errors import InputError
from workbench.robot import run as runs
from workbench.robot.config import RolloutConfig
from workbench.robot.evaluate import require_simulated
from workbench.robot.rollout import Trial
from workbench.robot.trials import CRITERIA, WHERE_ONLY, TrialLog, trial_identity

SIMULATED = ("task", "versions")
"""What a recording says of the simulation in which its policy acts."""


def finished_trials(
    folder: Path, other: Path, config: RolloutConfig, device: str = "cpu"
) -> dict[int, Trial]:
    """Trials of another run from the same positions, with the same settings: position to trial.

    Parameters
    ----------
    folder, other : Path
        The run that is tried, and the run that it is compared with.
    config : RolloutConfig
        Options of the trials; both runs must have them.
    device : str
        Torch device of model and policy.

    Raises
    ------
    InputError
        The same folder twice; a run is not finished, or was not trained in simulation; the runs
        are of different tasks or simulators;
        the other run has finished no trial with these settings, by this code and these libraries.
    """
    if folder.resolve() == other.resolve():
        raise InputError(f"--against is {other}, the run itself; expected another run")
    own, theirs = (runs.finished(path) for path in (folder, other))
    require_simulated(folder, own.identity)
    for name in SIMULATED:
        found, wanted = (one.identity["recording"].get(name) for one in (theirs, own))
        if found != wanted:
            raise InputError(
                f"{name} of {other} is {found}, expected {wanted} as in {folder}: their positions "
                f"cannot be paired; name a run of the same simulation"
            )
    log = TrialLog(other, trial_identity(config, theirs.identity, theirs.step, device))
    trials = {k: trial for k, trial in log.read().items() if k < config.positions}
    if not trials:
        raise InputError(
            f"{other} has no finished trials with these settings ({_there(other, log.identity)}); "
            f"first: workbench robot rollout --run {other}{_flags(config, device)}"
        )
    return trials


def differences(
    outcomes: Mapping[str, Sequence[int]], trials: Mapping[int, Trial]
) -> dict[str, Any]:
    """Success rate minus another run's, over the positions of its trials.

    Parameters
    ----------
    outcomes : mapping
        Criterion to 0 or 1 for each position from 0 on, as in
        :func:`workbench.robot.trials.summary`.
    trials : mapping
        Position to the other run's trial.

    Returns
    -------
    dict
        ``positions`` (number of pairs), and for each criterion ``difference`` with its 95 %
        interval ``low`` to ``high`` (a share, not per cent) and McNemar's ``p``.
    """
    positions = sorted(trials)
    found: dict[str, Any] = {"positions": len(positions)}
    for criterion, name in CRITERIA.items():
        own = [outcomes[criterion][position] for position in positions]
        other = [getattr(trials[position], name) for position in positions]
        sides = (np.array([side], bool) for side in (own, other))
        found[criterion] = paired(*sides)._asdict()
    return found


def _there(folder: Path, wanted: Mapping[str, Any]) -> str:
    """How the trials that a run has differ from the wanted ones, of those that differ least."""
    kept: list[list[str]] = []
    for path in sorted(folder.glob("trials.*.jsonl")):
        try:
            identity = json.loads(path.read_text(encoding="utf-8").partition("\n")[0])
            kept.append(_differing(identity, wanted))
        except (ValueError, TypeError, AttributeError):
            continue  # cut short, or of another layout
    nearest: list[str] = min(kept, key=len, default=["it has none at all"])
    return "; ".join(nearest)


def _differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """A line for each option that differs, and one for the code, the libraries and the weights."""
    options, others = wanted["options"], found.get("options", {})
    lines = [
        f"{name} is {others.get(name)} there, expected {value}"
        for name, value in options.items()
        if others.get(name) != value
    ]
    rest = [name for name in wanted if name != "options" and found.get(name) != wanted[name]]
    if rest:
        lines.append(f"those there have another {' and '.join(rest)}")
    return lines or ["those there are of later positions"]


def _flags(config: RolloutConfig, device: str) -> str:
    """Positions, seed, and the other options that decide a trial and are not the defaults."""
    default = RolloutConfig()
    given = {"device": device} if device != "cpu" else {}
    given |= {
        name: value
        for name, value in asdict(config).items()
        if name in ("positions", "seed")
        or (name not in WHERE_ONLY and value != getattr(default, name))
    }
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in given.items())
