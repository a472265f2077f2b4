"""Keep each trial when it ends, and summarise all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analyses.statistics.bootstrap import wilson
from feature_store.errors import InputError
from workbench import code_hash
from workbench.results import strict_json
from workbench.robot.config import RolloutConfig
from workbench.robot.rollout import Trial

CRITERIA = {"grasp": "grasped", "placed": "placed"}
"""Criterion of the config to the field of a trial."""
WHERE_ONLY = ("positions", "success", "environments")
"""Options that do not change a trial."""


class TrialLog:
    """A file with a line per trial, so that a repeated rollout runs only missing trials.

    Its name is a hash of the identity, which is everything that decides a trial.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        import xxhash

        self.identity = strict_json.jsonable(identity)
        text = json.dumps(self.identity, sort_keys=True)
        self.path = folder / f"trials.{xxhash.xxh3_64(text.encode()).hexdigest()}.jsonl"

    def read(self) -> dict[int, Trial]:
        """Position to its trial; lines that a crash cut short are skipped."""
        if not self.path.exists():
            return {}
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines()[1:]:
            try:
                trial = Trial(**json.loads(line))
            except ValueError:
                continue
            found[trial.position] = trial
        return found

    def add(self, trial: Trial) -> None:
        """Append a trial."""
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as file:
            if new:
                file.write(json.dumps(self.identity) + "\n")
            kept = {"position": trial.position, "steps": trial.steps}
            kept |= {"grasped": trial.grasped, "placed": trial.placed}
            file.write("\n" + json.dumps(kept) + "\n")


def trial_identity(
    config: RolloutConfig, run: dict[str, Any], step: int, device: str
) -> dict[str, Any]:
    """Everything that decides a trial; `run` is the identity of the training run."""
    return {
        "options": {k: v for k, v in asdict(config).items() if k not in WHERE_ONLY},
        "run": run,
        "step": step,
        "device": device.partition(":")[0],
        "code": code_hash.parts_sha256(("workbench/robot", *code_hash.FEATURES)),
        "libraries": code_hash.library_versions(),
    }


def summary(trials: Sequence[Trial], success: str) -> dict[str, Any]:
    """Success rates by both criteria, with Wilson's 95 % intervals, and each position's outcome.

    Parameters
    ----------
    trials : sequence of Trial
        Trials in the order of their positions.
    success : str
        Criterion of ``success_rate``: grasp or placed.

    Raises
    ------
    InputError
        There are no trials.
    """
    if not trials:
        raise InputError("no trial to summarise; expected at least 1")
    by = {name: [bool(getattr(t, field)) for t in trials] for name, field in CRITERIA.items()}
    rates = {name: _rate(hits) for name, hits in by.items()}
    return {
        **rates[success],
        "criterion": success,
        **rates,
        "outcomes": {name: list(map(int, hits)) for name, hits in by.items()},
        "steps": [trial.steps for trial in trials],
    }


def _rate(hits: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(hits), len(hits))
    return {
        "successes": sum(hits),
        "trials": len(hits),
        "success_rate": sum(hits) / len(hits),
        "low": low,
        "high": high,
    }
