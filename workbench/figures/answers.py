"""Answers to questions about pictures: accuracy against the size of objects, and a gallery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from analyses.statistics.bootstrap import wilson
from workbench.figures import style
from workbench.figures.gallery import MARKS, THUMBNAIL, thumbnail

PANELS = {
    "size": "object in pixels of the picture, log scale",
    "seen": "object in pixels of the largest scale, log scale",
}
BLIND = ("#4d4d4d", "x", ":")
"""Look of the floor."""
MORE_MARKERS = ("<", ">", "*")
"""Of curves beyond those that have looks of their own."""


@style.styled
def draw_sizes(table: pd.DataFrame) -> Figure:
    """Accuracy against the size of objects, in the picture and as a model sees it.

    Where the size seen decides, curves that are apart on the left meet on the right. The table has
    ``kind`` (of the questions; one line of panels each), ``name``, ``size`` (pixels), ``seen``
    (pixels, or NaN), ``questions``, ``right``.
    """
    columns = [name for name in PANELS if table[name].notna().any()]
    kinds = list(dict.fromkeys(table["kind"]))
    width, height = 4.6 * len(columns), 3.4 * len(kinds) + 0.4
    drawn, axes = style.figure(width, height, rows=len(kinds), columns=len(columns))
    looks = looks_of(list(dict.fromkeys(table["name"])))
    shown: dict[str, Artist] = {}
    panels = ((kind, column) for kind in kinds for column in columns)
    for ax, (kind, column) in zip(axes, panels, strict=True):
        for name, rows in table[table["kind"] == kind].groupby("name", sort=False):
            at = rows.dropna(subset=[column]).sort_values(column)
            if at.empty:
                continue
            share = 100 * at["right"] / at["questions"]
            ends = [wilson(r, n) for r, n in zip(at["right"], at["questions"], strict=True)]
            look = looks[str(name)]
            style.curve(ax, at[column], share, look, str(name))
            shown.setdefault(str(name), ax.lines[-1])
            low, high = (np.array(end) * 100 for end in zip(*ends, strict=True))
            ax.vlines(at[column], low, high, color=look[0], lw=1, alpha=0.6)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.set(xlabel=PANELS[column], ylabel="accuracy (%)\n(bars: 95 % intervals)")
        ax.set_title(kind, fontsize=9)
    drawn.legend(list(shown.values()), list(shown), loc="outside upper left", ncols=3, fontsize=8)
    return drawn


@style.styled
def draw_gallery(
    pictures: Sequence[np.ndarray | None],
    asked: Sequence[tuple[str, str]],
    answers: Mapping[str, Sequence[tuple[str, float]]],
) -> Figure:
    """Questions with the expected answer and what each model said, three in a line.

    `pictures` are uint8, dims (row, col, 3), or None if they cannot be read; `answers` maps the
    name of a model to its answer and score in each question.
    """
    columns = min(3, len(asked))
    lines = -(-len(asked) // columns)
    height = 2.6 + 0.22 * len(answers)
    drawn, axes = style.figure(3.1 * columns, height * lines, rows=lines, columns=columns)
    for ax in axes:
        ax.set_axis_off()
    for n, (ax, picture) in enumerate(zip(axes, pictures, strict=False)):
        blank = np.full((THUMBNAIL, THUMBNAIL, 3), 235, np.uint8)
        ax.imshow(blank if picture is None else thumbnail(picture))
        question, expected = asked[n]
        ax.set_title(fill(f"{question} ({expected})", 40), fontsize=8, parse_math=False)
        said = [_said(name, *found[n]) for name, found in answers.items()]
        ax.text(
            0, -0.04, "\n".join(said), va="top", fontsize=8, transform=ax.transAxes,
            parse_math=False,
        )  # fmt: skip
    return drawn


def _said(name: str, answer: str, score: float) -> str:
    mark = MARKS["right" if score >= 0.5 else "wrong"]
    return f"{mark} {name}: {answer if len(answer) <= 30 else answer[:29] + '…'}"


def looks_of(names: Sequence[str]) -> dict[str, style.Look]:
    """A look for each name: S2 in green, single scales in others, blind apart."""
    s2, single = _in_turn(style.S2_CURVES), _in_turn(style.SINGLE_CURVES)
    return {
        name: BLIND if "blind" in name.lower() else next(s2 if "S2" in name else single)
        for name in names
    }


def _in_turn(looks: Sequence[style.Look]) -> Iterator[style.Look]:
    """The looks, and then again with other markers."""
    yield from looks
    for marker in cycle(MORE_MARKERS):
        yield from ((colour, marker, line) for colour, _, line in looks)
