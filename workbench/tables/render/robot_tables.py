"""Table 10 in counts, and the trials of a simulated robot beside it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analyses import experiments
from analyses.published import load
from analyses.published.robot import audit
from workbench.figures import style
from workbench.figures.curve import floor, named_points
from workbench.robot.config import PICKING
from workbench.tables.pipeline.committed import MAIN, ROBOT, robot_runs
from workbench.tables.render import view
from workbench.tables.specs.s2_table10 import STAND_INS


def audit_block(_: str) -> tuple[str, str, pd.DataFrame]:
    """The published rates as counts: title, caption, frame."""
    found = audit()
    frame = pd.DataFrame(
        {
            "size": found["size"],
            "scales": found["scales"],
            "successes": [
                f"{k} of {n}" for k, n in zip(found.successes, found.trials, strict=True)
            ],
            "95 % interval": _intervals(found["low"], found["high"]),
            "p against S2": found["p"].round(2),
            "trials needed": found["trials_needed"],
        }
    )
    caption = (
        "Each printed rate is a count of 16 trials. Intervals are Wilson's, p is of Fisher's exact "
        "test. Trials needed: of each model, for a two-sided test at 5 % to find the printed "
        "difference with a power of 80 %."
    )
    return "The published rates in counts", caption, frame


def runs_block(_: str) -> tuple[str, str, pd.DataFrame]:
    """The committed trials in simulation: title, caption, frame."""
    found = experiments.load(ROBOT)
    caption = (
        "Meta-World in place of the robot arm: a frozen model, a transformer over 16 steps cloned "
        "from scripted experts, random positions that no demonstration has. Grasped: lifted, the "
        "paper's criterion; in picking alone. In brackets 95 % intervals: over seeds of the "
        "training and positions, of a single seed over positions (Wilson's for rates). A single "
        "seed compares two trained policies rather than two encoders. By seed: successes of each; "
        "first 16: grasped at as many positions as the paper tries. Minus base: paired over "
        "positions and the seeds that both have, with McNemar's p where that is one; the base is "
        "Lite0, and Lite0 without past actions for the other rows without them. GMACs: of the "
        "frozen model, per control step; it looks at every eighth. Hz: control steps per second "
        "that encoding and policy allow one robot on two cores, on average."
    )
    if (found["episodes"] < MAIN["episodes"]).any():
        caption += (
            " Beside runs with fewer demonstrations stands a line with all, of the same positions: "
            "the first ones of the main run of seed 0."
        )
    return "Trials in simulation", caption, runs_frame(found)


def runs_frame(found: pd.DataFrame) -> pd.DataFrame:
    """A line of text and numbers for each row of the experiment's summary, for readers."""
    columns: dict[str, object] = {
        "task": found["task"],
        "policy sees": found["row"],
        "demonstrations": found["episodes"],
        "view": [_view(row) for row in found.itertuples()],
        "seeds": found["seeds"],
        "trials": found["trials"],
    }
    for name, heading in (("grasp", "grasped"), ("placed", "placed")):
        told = (found["task"] == PICKING) | (name == "placed")
        for title, cells in _results(found, name, heading).items():
            columns[title] = [c if t else "" for c, t in zip(cells, told, strict=True)]
    columns["GMACs per step"] = found["gmacs_per_step"].round(3)
    columns["Hz"] = found["control_hz"].round(0).astype("Int64")
    return pd.DataFrame(columns)


@style.styled
def figure(*_: object) -> Figure:
    """Figure 5: success against cost, in the paper and in simulation."""
    drawn, (left, right) = style.figure(9.0, 3.8, columns=2)
    printed = audit().merge(
        load("s2_table10_robotics")[["size", "scales", "flops_g"]], on=["size", "scales"]
    )
    names = [f"{r.size} {r.scales}" for r in printed.itertuples()]
    rate = 100 * printed["successes"] / printed["trials"]
    named_points(left, printed["flops_g"], rate, printed["low"], printed["high"], names)
    left.set_title("paper: 16 trials each (Table 10)", fontsize=9)
    left.set_ylabel("grasped (%)")
    here = robot_runs()
    seen = here[here["row"].isin(STAND_INS.values())]
    low, high = (100 * seen[f"grasp_{end}"] for end in ("low", "high"))
    grasped = 100 * seen["grasp"] / seen["trials"]
    named_points(right, seen["gmacs_per_look"], grasped, low, high, seen["row"])
    for blind in here[here["row"] == "blind"].itertuples():
        floor(right, 100 * blind.grasp / blind.trials, "blind")
    right.set_title("here: Meta-World, pick-place-v3", fontsize=9)
    for ax in (left, right):
        ax.set_ylim(0, 100)
        ax.set_xlabel(f"GMACs per frame, log scale\n{ax.get_xlabel()}".rstrip())
    return drawn


def _results(found: pd.DataFrame, name: str, heading: str) -> dict[str, list[str]]:
    """Columns of one criterion."""
    share = 100 / found["trials"]
    low, high = (100 * found[f"{name}_{end}"] for end in ("low", "high"))
    rates = zip(found[name] * share, _intervals(low, high), strict=True)
    columns = {
        f"{heading} (%)": [f"{rate:.1f} [{ends}]" for rate, ends in rates],
        f"{heading}, by seed": found[f"{name}_by_seed"].astype(str).tolist(),
        f"{heading}, minus base": _differences(found, name),
    }
    if name == "grasp":
        columns[f"{heading}, first 16"] = found["grasp_first"].astype(str).tolist()
    if f"{name}_view_difference" in found:
        columns[f"{heading}, minus view as recorded"] = _differences(found, f"{name}_view")
    return columns


def _view(row: object) -> str:
    moved, light = row.camera_shift, row.light  # type: ignore[attr-defined]
    parts = [f"camera moved {100 * moved:.0f} cm"] * bool(moved)
    return ", ".join([*parts, *[f"light x {light:g}"] * (light != 1)]) or "as recorded"


def _differences(found: pd.DataFrame, name: str) -> list[str]:
    """Difference, interval and p of each row; empty for the row that others are compared with."""
    if f"{name}_difference" not in found:
        return [""] * len(found)
    ends = ("", "_low", "_high")
    columns = [100 * found[f"{name}_difference{end}"] for end in ends]
    return [view.paired(*row) for row in zip(*columns, found[f"{name}_p"], strict=True)]


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{a:.0f}, {b:.0f}" for a, b in zip(low, high, strict=True)]
