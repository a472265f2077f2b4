"""Blocks of the papers' case studies: V* scores as counts, and runs of our own experiments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses import experiments
from analyses.experiments import multimodal
from workbench.figures import style
from workbench.figures.answers import draw_sizes
from workbench.figures.curve import ASIDE, side_by_side
from workbench.tables.render import view

COLUMNS = {"vstar_att": "attribute", "vstar_spa": "spatial", "overall": "overall"}
"""Kind of question → its name."""
LEVEL = 0.05
"""Below this p a difference counts as larger than chance."""


def vstar_counts(number: str) -> tuple[str, str, pd.DataFrame]:
    """A table's V* scores as counts with intervals, one line for each row that has them."""
    from analyses.published import vstar_audit

    found = vstar_audit.cells()
    found = found[found["table"] == number]
    texts = [
        f"{c.right} of {c.questions} = {100 * c.right / c.questions:.1f} % "
        f"({c.low:.1f} to {c.high:.1f})"
        for c in found.itertuples()
    ]
    found = found.assign(column=found["column"].map(COLUMNS), text=texts)
    rows = list(dict.fromkeys(found["row"]))
    frame = found.pivot(index="row", columns="column", values="text").loc[rows]
    caption = (
        "Every printed V* score is a count of 115 attribute or 76 spatial questions, and one count "
        "only; overall is the mean over all 191, which is not printed. Intervals are Wilson's, "
        "95 %."
    )
    named = frame[list(COLUMNS.values())].rename_axis(columns=None).reset_index()
    return "V* scores as counts", caption, named


def vstar_chance(number: str) -> tuple[str, str, pd.DataFrame]:
    """A table's differences in V*, in questions, with what chance allows."""
    from analyses.published import vstar_audit

    found = vstar_audit.differences()
    found = found[found["table"] == number]
    certain, possible = (found[f"mcnemar_{end}"] <= LEVEL for end in ("high", "low"))
    frame = pd.DataFrame(
        {
            "row": found["row"],
            "against": found["against"],
            "questions of": found["column"].map(COLUMNS),
            "difference in questions": [view.signed(d, 0) for d in found["difference"]],
            "in points": [view.signed(d, 1) for d in found["percent"]],
            "Fisher p": found["fisher"].map("{:.3f}".format),
            "McNemar p from": found["mcnemar_low"].map("{:.3f}".format),
            "McNemar p to": found["mcnemar_high"].map("{:.3f}".format),
            "larger than chance": np.select([certain, possible], ["yes", "perhaps"], "no"),
        }
    )
    caption = (
        "Rows answer the same questions, so McNemar's test applies; its p lies between the two "
        "given, depending on counts that are not printed. Fisher's takes the questions of both "
        f"rows for different ones. Of {len(found)} differences, {certain.sum()} are larger than "
        f"chance whatever these counts, and {(possible & ~certain).sum()} may be."
    )
    return "V* differences against chance", caption, frame


def experiment(name: str) -> tuple[str, str, pd.DataFrame]:
    """The committed metrics of an experiment with small real parts."""
    title = "Small parts, measured here"
    if name not in experiments.names():
        return title, f"No run of {name} is committed yet.", pd.DataFrame()
    found = experiments.load(name)
    caption = (
        "Runs of scripts/experiments/multimodal.py; intervals are Wilson's, 95 %; differences are "
        "paired over questions, with intervals over resampled images and McNemar's p. A single "
        "seed compares two trained models; intervals of several seeds are over other images and "
        "other seeds. Most frequent answers: those of the training to each type of question. "
        "Models, data and sizes are not the paper's: docs/vlm_results.md says what they are."
    )
    if found["study"].isin(multimodal.STUDIES).any():
        caption = f"{multimodal.verdict(by_size())} {caption}".strip()
    for base in multimodal.BASES:
        ends = ["", " low", " high", " p", " seeds"]
        parts = found[[f"minus {base}{end}" for end in ends]].set_axis(ends, axis=1)
        texts = [
            difference_text(part, seeds)
            for part, seeds in zip(parts.to_dict("records"), found["seeds"], strict=True)
        ]
        found = found.drop(columns=[f"minus {base}{end}" for end in ends])
        found[f"minus {base}"] = texts
    cells = found.rename(columns={"accuracy (%)": "value"}).to_dict("records")
    found["accuracy (%)"] = [view.with_interval(cell, 1) for cell in cells]
    types = found.pop("by type (%)").astype(object)
    found["by type (%)"] = types.fillna("")  # the widest column, last
    found["kind"] = found["kind"].astype(object).fillna("")
    return title, caption, found.drop(columns=["low", "high"])


def difference_text(part: dict, seeds: int) -> str:
    """A paired difference, with its number of seeds where that is not the row's own.

    Examples
    --------
    >>> part = {"": 10.0, " low": 2.0, " high": 18.0, " p": float("nan"), " seeds": 2}
    >>> difference_text(part, 2), difference_text(part, 3)
    ('+10.0 [+2.0, +18.0]', '+10.0 [+2.0, +18.0] (2 seeds)')
    """
    text = view.paired(*(part[end] for end in ("", " low", " high", " p")))
    fewer = part[" seeds"] < seeds and text
    return f"{text} ({part[' seeds']} seed{'s' * (part[' seeds'] != 1)})" if fewer else text


def by_size() -> pd.DataFrame:
    """Committed right answers by kind and size of objects; no row where no run is committed."""
    if multimodal.SIZES in experiments.names():
        return experiments.load(multimodal.SIZES)
    return pd.DataFrame(columns=[*multimodal.SIZE_KEYS, "questions", "right"])


def by_cost() -> pd.DataFrame:
    """Rows of the committed runs: ``study``, ``row``, ``gmacs``, ``value``, ``low``, ``high`` in %.

    Of the studies of objects only those whose pilots have learned are among them, by kind of
    question, which their name contains; it says so where the pilot did not learn a kind.
    """
    columns = {"GMACs": "gmacs", "accuracy (%)": "value", "low": "low", "high": "high"}
    if multimodal.SUMMARY not in experiments.names():
        return pd.DataFrame(columns=["study", "row", *columns.values()])
    found, sizes = experiments.load(multimodal.SUMMARY).rename(columns=columns), by_size()
    shown = found[~found["study"].isin(multimodal.STUDIES)]
    for study in multimodal.learned(sizes):
        kinds = multimodal.learned_kinds(sizes, study)
        for kind, rows in found[found["study"] == study].dropna(subset="kind").groupby("kind"):
            unlearned = "" if kind in kinds else "\n(the pilot did not learn these)"
            shown = pd.concat([shown, rows.assign(study=f"{study}, {kind}{unlearned}")])
    return shown[["study", "row", *columns.values()]]


def draw_costs(ax: Axes, rows: pd.DataFrame, looks: Mapping[str, style.Look]) -> None:
    """Accuracy against cost: a marker with its interval for each row, lines for the floors."""
    floors = rows["row"].isin([multimodal.BLIND, multimodal.PRIOR])
    seen = rows[~floors]
    at = side_by_side(seen["gmacs"])[seen.index] if len(seen) else seen["gmacs"]
    for x, row in zip(at, seen.itertuples(), strict=True):
        colour, marker, _ = looks[row.row]
        ax.vlines(x, row.low, row.high, color=colour, lw=1, alpha=0.8)
        ax.plot(x, row.value, marker, color=colour, label=row.row)
    for row in rows[floors].itertuples():
        line = "--" if row.row == multimodal.PRIOR else ":"
        ax.axhline(row.value, ls=line, lw=1.2, color=style.GREY, label=row.row)
    ax.set_xscale("log")
    style.log_axis(ax.xaxis)
    ax.margins(x=0.15)
    if (at != seen["gmacs"]).any():
        ax.set_xlabel(ASIDE)
    ax.set_ylabel("accuracy (%)\n(bars: 95 % intervals)", fontsize=9)
    ax.tick_params(labelsize=8)


def sizes_figure(*_: object) -> Figure | None:
    """Figure 4's point, measured: accuracy against the size of objects; None without a run."""
    found = multimodal.curves(by_size())
    return None if found.empty else draw_sizes(found)
