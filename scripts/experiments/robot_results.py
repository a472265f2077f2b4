"""Tables of the runs of robot.py: the summary, and the page's table of each part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import runner
from robot_runs import DEMOS, RESULTS, ROWS, STEADY, TRIALS

from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import over_seeds, paired
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.table_files import to_markdown
from workbench.robot.config import PICKING
from workbench.tables.render.robot_tables import runs_frame

TABLE = Path(__file__).parents[2] / "analyses/experiments/table10_robotics.csv"
PAGE = Path(__file__).parents[2] / "docs/robot.md"
SPEED = Path(__file__).parents[1] / "benchmarks/results/robot.json"
"""Control steps per second of each row on an idle machine; those of a run depend on its load."""
PUBLISHED = 16
"""Trials of the paper; the first so many positions are shown by themselves."""
KEYS = ("task", "episodes", "positions", "camera_shift", "light")
"""Fields that runs of a group share; within a group rows are compared."""
TITLES = {
    "main": "Rows of Table 10",
    "tasks": "Other tasks",
    "demonstrations": "Fewer demonstrations",
    "robustness": "Another view",
}
"""Part of the experiment to its title on the page."""
ALWAYS = ("policy sees", "seeds", "trials")
"""Columns of the page's tables that are kept where they have one value."""
BY_SEED = ("by seed", "first 16")
"""Ends of the names of columns that have a count for each seed."""


def write_summary() -> None:
    """Write the table that `workbench tables --only 10` shows, and the tables of docs/robot.md."""
    table = summary()
    write_csv(table, TABLE)
    runner.write_tables(tables(table), PAGE)
    print(f"wrote {TABLE} and {PAGE}")
    codes = {one.get("code_sha256", "not recorded")[:12] for one in results()}
    if len(codes) > 1:
        print(f"note: runs of {len(codes)} states of the code: {', '.join(sorted(codes))}")


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
    order = ("main", "demonstrations", "robustness", "tasks")
    view = named["camera_shift"], named["light"] != 1
    return order.index(part_of(named)), *view, named["task"], named["episodes"]


def part_of(one: dict) -> str:
    """The part of the experiment that a run, a group of runs or a line of the summary is in."""
    if one["positions"] == TRIALS.positions:
        return "main"
    if one["task"] != PICKING:
        return "tasks"
    return "demonstrations" if as_recorded(one) else "robustness"


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
    lines, parts = runs_frame(table), [part_of(one) for one in table.to_dict("records")]
    texts = []
    for name, title in TITLES.items():
        part = lines[[one == name for one in parts]]
        idle = BY_SEED if part["seeds"].max() == 1 else ()
        told = [column for column in part if not column.endswith(idle)]
        kept = [c for c in told if c in ALWAYS or part[c].nunique() > 1]
        texts += [f"**{title}**", to_markdown(part[kept], "") if len(part) else "Not yet run."]
    return "\n\n".join(texts)
