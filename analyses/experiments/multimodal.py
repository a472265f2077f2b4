"""The experiment with small multimodal models: accuracy by object size, and its pilot's rule.

Objects of 8 to 64 pixels lie in pictures of :data:`SIDE` pixels. The pilot fixes whether a model of
this size learns the questions at all: only where it beats a blind one on the largest objects do
differences between the rows of the study mean something.
"""

from __future__ import annotations

import re

import pandas as pd

from feature_store.source import Source

SUMMARY, SIZES = "tables_1_8_9_multimodal", "tables_1_8_9_sizes"
"""Summaries: a line for each run, and one for each run and size of objects."""
STUDY, PILOT, BLIND = "objects", "pilot", "blind"
BASES = ("Lite0", BLIND)
"""Rows that the others are compared with."""
SIDE = 1344
"""Side of the pictures in pixels."""
LARGEST = 64
"""Objects, in pixels, that the pilot is judged by."""
NEEDED = 20.0
"""Percentage points by which the pilot has to beat the blind row on them."""


def pilot_gain(sizes: pd.DataFrame) -> float | None:
    """Points by which the pilot beats its blind row on the largest objects; None if it lacks one.

    Parameters
    ----------
    sizes : pandas.DataFrame
        Columns ``study``, ``row``, ``size``, ``questions``, ``right``; seeds are pooled.
    """
    found = sizes[(sizes["study"] == PILOT) & (sizes["size"] == LARGEST)]
    blind = found["row"] == BLIND
    if blind.all() or not blind.any():
        return None
    parts = (found.loc[rows, ["right", "questions"]].sum() for rows in (~blind, blind))
    seen, floor = (100 * part["right"] / part["questions"] for part in parts)
    return float(seen - floor)


def verdict(sizes: pd.DataFrame) -> str:
    """Why nothing is concluded from the study; empty where its pilot learned."""
    gain = pilot_gain(sizes)
    if gain is not None and gain >= NEEDED:
        return ""
    why = (
        "its pilot has not been run"
        if gain is None
        else f"in its pilot, questions about objects of {LARGEST} pixels are answered {gain:+.1f} "
        f"points above the blind row, and {NEEDED:g} are needed"
    )
    return f"Nothing is concluded from the study '{STUDY}': {why}."


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
    """The study's rows by size, means over seeds.

    Returns
    -------
    pandas.DataFrame
        ``name``, ``size``, ``seen`` (pixels), ``questions`` and ``right`` of a seed on average: all
        seeds are asked the same questions, and more seeds must not narrow an interval over them.
    """
    found = sizes[sizes["study"] == STUDY]
    by = ["row", "source", "size"]
    table = found.groupby(by, sort=False)[["questions", "right"]].mean().reset_index()
    at = zip(table["source"], table["size"], strict=True)
    table["seen"] = [seen_pixels(source, size, SIDE) for source, size in at]
    return table.rename(columns={"row": "name"}).drop(columns="source")
