"""The experiment with small multimodal models: accuracy by object size, and its pilots' rule.

Objects of 8 to 512 pixels lie in pictures of :data:`SIDE` pixels. Studies of them differ in their
sizes, in what is trained and in how hard the questions are. The first two runs of a study are its
pilot: only where the row with the finest scales beats the blind one on the largest objects does a
model of this size learn a kind of question at all, and differences between rows mean something.
Studies go from the easiest to the hardest, as long as their pilots learn a kind.
"""

from __future__ import annotations

import re
from itertools import takewhile

import pandas as pd

from feature_store.source import Source

SUMMARY, SIZES = "tables_1_8_9_multimodal", "tables_1_8_9_sizes"
"""Summaries: a line for each row, and one for each run, kind of question and size of objects."""
SIZE_KEYS = ("study", "row", "seed", "source", "kind", "size")
"""Columns of :data:`SIZES`, beside ``questions`` and ``right``."""
STUDIES = ("objects-large", "objects-one-shape", "objects-lora", "objects-projector")
"""Studies of objects, the easiest first."""
FINEST, BLIND = "Lite0-S2 3 scales raw", "blind"
"""Rows of a pilot."""
PRIOR = "most frequent answers"
"""A line that is not a run: the most frequent training answer to each type of question."""
BASE = "Lite0"
"""The backbone of most rows, at one scale."""
BASES = (BASE, "Lite2", BLIND)
"""Rows that the others are compared with: one scale of the same backbone, of the largest one, and
the floor."""
SIDE = 1344
"""Side of the pictures in pixels."""
NEEDED = 20.0
"""Percentage points by which a pilot has to beat the blind row on the largest objects of its
study."""


def pilot_gains(sizes: pd.DataFrame, study: str) -> dict[str, float]:
    """Points by which a study's pilot beats its blind row on its largest objects, by kind.

    Empty before both are run. The pilot has seed 0; runs with other seeds, which follow where it
    learned, change nothing.

    Parameters
    ----------
    sizes : pandas.DataFrame
        Columns ``study``, ``row``, ``seed``, ``kind``, ``size``, ``questions``, ``right``.
    """
    of_study = sizes[sizes["study"] == study]
    found = of_study[(of_study["seed"] == 0) & (of_study["size"] == of_study["size"].max())]
    if not {FINEST, BLIND} <= set(found["row"]):
        return {}
    share = found.set_index(["kind", "row"]).eval("100 * right / questions").unstack()
    return (share[FINEST] - share[BLIND]).to_dict()


def learned_kinds(sizes: pd.DataFrame, study: str) -> list[str]:
    """Kinds of questions that a study's pilot learned."""
    return [kind for kind, gain in pilot_gains(sizes, study).items() if gain >= NEEDED]


def learned(sizes: pd.DataFrame) -> list[str]:
    """Studies whose pilots learned a kind of question, up to the first that did not."""
    return list(takewhile(lambda study: learned_kinds(sizes, study), STUDIES))


def verdict(sizes: pd.DataFrame) -> str:
    """Kinds of questions that nothing is concluded from, and why; perhaps empty."""
    gains = {
        f"{kind} questions of {study}": gain
        for study in dict.fromkeys(sizes["study"])
        for kind, gain in pilot_gains(sizes, study).items()
    }
    if not gains:
        return "Nothing is concluded from the studies of objects: no pilot has been run."
    return " ".join(
        f"Nothing is concluded from {name}: on the largest objects the pilot is {gain:+.1f} points "
        f"above the blind row, and {NEEDED:g} are needed."
        for name, gain in gains.items()
        if gain < NEEDED
    )


def seen_pixels(source: str, size: float, side: int) -> float:
    """Pixels of an object at the largest scale of a source.

    An interpolated scale enlarges the base image: its object is as large as on a ``raw`` one, and
    shows no more than on the base.

    Parameters
    ----------
    source : str
        ``MODEL@SCALE[+SCALE...]`` in pixels.
    size : float
        Size of the object in pixels of the picture.
    side : int
        Longer side of the picture in pixels.

    Examples
    --------
    >>> seen_pixels("bundled:efficientnet_lite0@224+672", 64, 1344)
    32.0
    """
    sides = (re.match(r"\d+", scale) for scale in Source.parse(source).scales)
    return size * max(int(found[0]) for found in sides if found) / side


def curves(sizes: pd.DataFrame) -> pd.DataFrame:
    """Rows by kind of question and size, means over seeds: of studies that learned, or the first.

    Returns
    -------
    pandas.DataFrame
        ``kind`` (with its study), ``name``, ``size``, ``seen`` (pixels), ``questions`` and
        ``right`` of a seed on average: all seeds are asked the same questions, and more seeds must
        not narrow an interval over them.
    """
    found = sizes[sizes["study"].isin(learned(sizes) or STUDIES[:1])]
    by = ["study", "kind", "row", "source", "size"]
    table = found.groupby(by, sort=False)[["questions", "right"]].mean().reset_index()
    at = zip(table["source"], table["size"], strict=True)
    table["seen"] = [seen_pixels(source, size, SIDE) for source, size in at]
    table["kind"] = table.pop("study") + ", " + table["kind"]
    return table.rename(columns={"row": "name"}).drop(columns="source")
