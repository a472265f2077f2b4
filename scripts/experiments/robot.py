"""Does image scaling help a cloned robot? Table 10 in simulation, with many trials.

    python scripts/experiments/robot.py --work runs/robot --prepare
    python scripts/experiments/robot.py --work runs/robot --only main --seed 0
    python scripts/experiments/robot.py --work runs/robot --film
    python scripts/experiments/robot.py --summary

A list of runs, each a row, a task, a number of demonstrations and a seed; a run whose JSON is in
results/robot/ beside this file is skipped. What runs share is prepared first, step by step: the
demonstrations of a task, then the features of each scale; --prepare stops after that.
Demonstrations, stores and trials go to --work (3 GB); each is resumed where it was stopped, so a
command may be repeated until it is done. --summary writes
analyses/experiments/table10_robotics.csv, which `workbench tables --only 10` shows, and from it the
tables of docs/robot.md. --film writes a GIF for each of two policies beside it, for the same page:
successes and failures side by side, 0.2 MB each. A policy that --film does not find in --work is
trained and tried first.

Frames are recorded and rendered at 448 pixels. Policy: the transformer over 16 steps, two layers,
which looks at every eighth step; map of tokens, reduced. Trials: 150 steps at most, 200 positions
(main) or 50 (others). Expected on two idle cores: a step of 120 demonstrations 4 minutes; of
features 3 (Lite0 at 224, Lite2 at 260) or 9 (448, 448.raw); a run 2 to 6, of which training takes 1
to 2 and two scales the longest; a film 4.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import runner
from robot_results import TABLE, write_summary
from robot_runs import DEMOS, PARTS, ROWS, STEADY, Run, runs

import feature_store
from workbench import code_hash, cost
from workbench.extraction import ExtractRequest, extract
from workbench.robot.demonstrations import load, require_same_frames
from workbench.robot.evaluate import evaluate
from workbench.robot.fit import Learner, clone
from workbench.robot.record import record
from workbench.training.config import TrainingConfig
from workbench.training.trained import Outcome

TRAINING = TrainingConfig(iterations=1200, checkpoint_every=100, patience=6)
CODE = ("workbench/robot", "workbench/training", *code_hash.FEATURES)
"""Decides the policy and its trials."""


def main() -> None:
    parser = runner.parser(__doc__, "write the table of what is there")
    parser.add_argument("--work", type=Path, default=Path("runs/robot"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--prepare", action="store_true", help="demonstrations and features alone")
    parser.add_argument("--film", action="store_true", help="film the policies of Table 10's page")
    parser.add_argument("--list", action="store_true", help="print the runs that are missing")
    asked = runner.parsed(parser)
    if asked.summary:
        write_summary()
        return
    if asked.film:
        for run in (Run(row=row, seed=asked.seed[0]) for row in STEADY if row in asked.row):
            prepare([run], asked.work)
            print(film(run, asked.work))
        return
    wanted = [run for part in asked.only for run in runs(part, asked.seed) if run.row in asked.row]
    if asked.list:
        print("\n".join(run.path.stem for run in runner.missing(wanted)))
        return
    prepare(runner.missing(wanted), asked.work)
    if not asked.prepare:
        runner.do(wanted, lambda run: measured(run, asked.work))


def prepare(wanted: list[Run], work: Path) -> None:
    """Record and extract, whatever of it is missing, what these runs share."""
    for task, source in preparations(wanted):
        print(f"prepare {task} {source or 'demonstrations'}", flush=True)
        if source:
            extracted(task, source, work)
        else:
            record(replace(DEMOS, task=task), demos_of(task, work), print)


def preparations(wanted: list[Run]) -> list[tuple[str, str]]:
    """Steps, in order: a task and a single-scale source, empty for the task's demonstrations."""
    found = []
    for run in wanted:
        model, _, scales = ROWS[run.row][0].partition("@")
        found += [(run.task, "")]
        found += [(run.task, f"{model}@{scale}") for scale in scales.split("+") if model]
    return list(dict.fromkeys(found))


def trained(run: Run, work: Path) -> tuple[Path, Outcome]:
    """Train, if that is not done, from what was prepared: the folder of the policy."""
    source, config = ROWS[run.row]
    demos = demos_of(run.task, work)
    given, store = load(demos), None
    if source:
        store = feature_store.open(str(store_of(run.task, work)))
        require_same_frames(store, given, demos)
    learner = Learner(store, source, given.take(run.episodes), config, run.seed)
    folder = work / "runs" / run.policy
    outcome = clone(learner, TRAINING, folder, print)
    if not outcome.finished:
        raise KeyboardInterrupt  # stopped between two steps
    return folder, outcome


def measured(run: Run, work: Path) -> dict:
    """Train and try, whatever of it is missing, from what was prepared."""
    folder, outcome = trained(run, work)
    source, config = ROWS[run.row]
    start = time.perf_counter()
    found = evaluate(folder, run.trials, print)
    model, _, scales = source.partition("@")
    gmacs = cost.cost(model, scales.split("+")).gmacs if source else 0.0
    return {
        **asdict(run),
        **found,
        "run": run.policy,
        "gmacs_per_look": gmacs,
        "gmacs_per_step": gmacs / config.look_every,
        "training": asdict(outcome),
        "policy": asdict(config),
        "rollout_seconds": time.perf_counter() - start,
        "code_sha256": code_hash.parts_sha256(CODE),
        **runner.provenance(),
    }


def film(run: Run, work: Path) -> Path:
    """Film some trials of a run; returns the film, beside the table."""
    folder, _ = trained(run, work)
    made, path = work / "films" / run.policy, TABLE.with_name(f"table10_{run.label}.gif")
    evaluate(folder, run.trials, print, video=made)
    shutil.copyfile(made / "trials.gif", path)
    return path


def demos_of(task: str, work: Path) -> Path:
    """Demonstrations of a task, of which a run may take the first."""
    return work / f"demos-{task}"


def store_of(task: str, work: Path) -> Path:
    """The store of the demonstrations' frames."""
    return work / f"{task}.zarr"


def extracted(task: str, source: str, work: Path) -> None:
    """Store the features of a single-scale source."""
    model, _, scale = source.partition("@")
    dataset, store = f"lerobot:{demos_of(task, work)}", str(store_of(task, work))
    extract(ExtractRequest(dataset=dataset, models=[model], scales=[scale], store=store))


if __name__ == "__main__":
    runner.run(main)
