"""Blocks of the papers' case studies: V* scores as counts, and runs of our own experiments."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses import experiments
from analyses.experiments import multimodal
from workbench.figures.answers import draw_sizes
from workbench.figures.curve import floor, named_points
from workbench.tables.render import view

COLUMNS = {"vstar_att": "attribute", "vstar_spa": "spatial", "overall": "overall"}


def vstar(number: str) -> tuple[str, str, pd.DataFrame]:
    """A table's differences in V*, as counts of questions with what chance allows."""
    from analyses.published import vstar_audit

    found = vstar_audit.differences()
    found = found[found["table"] == number]
    cells = vstar_audit.cells().set_index(["table", "row", "column"])

    def printed(row: str, column: str) -> str:
        cell = cells.loc[(number, row, column)]
        right, count = int(cell["right"]), int(cell["questions"])
        low, high = cell["low"], cell["high"]
        return f"{right}/{count} = {100 * right / count:.1f} % ({low:.0f} to {high:.0f})"

    frame = pd.DataFrame(
        {
            "row": found["row"],
            "against": found["against"],
            "questions of": found["column"].map(COLUMNS),
            "right": list(map(printed, found["row"], found["column"])),
            "right, other": list(map(printed, found["against"], found["column"])),
            "difference": found["difference"],
            "Fisher p": found["fisher"].round(3),
            "McNemar p from": found["mcnemar_low"].round(3),
            "McNemar p to": found["mcnemar_high"].round(3),
        }
    )
    certain = int((found["mcnemar_high"] <= 0.05).sum())
    possible = int((found["mcnemar_low"] <= 0.05).sum())
    caption = (
        "Arithmetic on the printed figures: every V* score is a count of 115 attribute or 76 "
        "spatial questions; overall is the mean over all 191. Intervals are Wilson's, 95 %. "
        "Fisher's test takes the questions of both rows for different ones; McNemar's lies between "
        f"the two p, depending on counts that are not printed. Of {len(found)} differences, "
        f"{certain} are larger than chance whatever these counts, {possible} may be."
    )
    return "V* scores against chance", caption, frame


def experiment(name: str) -> tuple[str, str, pd.DataFrame]:
    """The committed metrics of an experiment with small real parts."""
    title = "Small parts, measured here"
    if name not in experiments.names():
        return title, f"No run of {name} is committed yet.", pd.DataFrame()
    found = experiments.load(name)
    caption = (
        "Runs of scripts/experiments/multimodal.py; intervals are Wilson's, 95 %; differences are "
        "paired over questions, with intervals over resampled images and McNemar's p. Models, data "
        "and sizes are not the paper's: docs/vlm.md says what they are."
    )
    if (found["study"] == multimodal.STUDY).any():
        caption = f"{multimodal.verdict(by_size())} {caption}".strip()
    for base in multimodal.BASES:
        columns = [f"minus {base}{end}" for end in ("", " low", " high", " p")]
        texts = [view.paired(*row) for row in zip(*(found[c] for c in columns), strict=True)]
        found = found.drop(columns=columns).assign(**{f"minus {base}": texts})
    return title, caption, found


def by_size() -> pd.DataFrame:
    """Committed right answers by the size of objects; no row where no run is committed."""
    if multimodal.SIZES in experiments.names():
        return experiments.load(multimodal.SIZES)
    return pd.DataFrame(columns=["study", "row", "seed", "source", "size", "questions", "right"])


def by_cost() -> pd.DataFrame:
    """Rows of the committed runs: ``study``, ``row``, ``gmacs``, ``value``, ``low``, ``high`` in %.

    Means over seeds, of intervals too: all seeds are asked the same questions. The pilot is not
    among them.
    """
    columns = {"GMACs": "gmacs", "accuracy (%)": "value", "low": "low", "high": "high"}
    if multimodal.SUMMARY not in experiments.names():
        return pd.DataFrame(columns=["study", "row", *columns.values()])
    found = experiments.load(multimodal.SUMMARY).rename(columns=columns)
    found = found[found["study"] != multimodal.PILOT]
    keys = ["study", "row"]
    return found.groupby(keys, sort=False)[list(columns.values())].mean().reset_index()


def draw_costs(ax: Axes, rows: pd.DataFrame) -> None:
    """Accuracy against cost: a point with its interval for each row, a line for the blind one."""
    blind = rows["row"] == multimodal.BLIND
    seen = rows[~blind]
    named_points(ax, seen["gmacs"], seen["value"], seen["low"], seen["high"], seen["row"])
    for value in rows.loc[blind, "value"]:
        floor(ax, value, multimodal.BLIND)
    ax.set_ylabel("accuracy (%)\n(bars: 95 % intervals)", fontsize=9)
    ax.tick_params(labelsize=8)


def sizes_figure(*_: object) -> Figure | None:
    """Figure 4's point, measured: accuracy against the size of objects; None without a run."""
    found = multimodal.curves(by_size())
    return None if found.empty else draw_sizes(found)
