"""A table for a terminal: as wide as the window, what every row repeats said once above it."""

from __future__ import annotations

import itertools
import shutil
import sys

import pandas as pd

from workbench.results.messages import note, show
from workbench.results.table_files import cells, to_markdown

NAMES = ("source", "target", "reference", "model", "than", "against")
"""Columns that hold names of sources or models."""


def show_table(table: pd.DataFrame, floats: str = ".4f", *, aside: bool = False) -> None:
    """Print a table, unless it is empty: narrow for a terminal, as Markdown for a pipe or a file.

    `aside` prints on standard error, where standard output has JSON.
    """
    if not table.empty:
        (note if aside else show)(as_shown(table, floats, aside=aside))


def as_shown(table: pd.DataFrame, floats: str = ".4f", *, aside: bool = False) -> str:
    """The text that :func:`show_table` prints for a table with rows."""
    stream = sys.stderr if aside else sys.stdout
    terminal = stream is not None and not stream.closed and stream.isatty()
    width = shutil.get_terminal_size().columns
    return fitted(table, width, floats) if terminal else to_markdown(table, floats)


def fitted(table: pd.DataFrame, width: int, floats: str = ".4f") -> str:
    """The table in lines of at most `width` characters, where its first column leaves room.

    Columns with one value in all of several rows stand above the table. So does the beginning that
    the names of all models share. Columns beyond the width follow below, each block with the first
    column again.

    Examples
    --------
    >>> frame = pd.DataFrame({"source": ["m:a_1@1x", "m:a_2@1x"], "n": [5, 5], "x": [0.5, 0.25]})
    >>> print(fitted(frame, 40))
    m:a_…; n: 5
    source       x
    1@1x    0.5000
    2@1x    0.2500
    """
    texts, above = cells(table, floats), []
    names = [name for name in NAMES if name in texts]
    if prefix := _shared_prefix([cell for name in names for cell in texts[name] if cell]):
        texts[names] = texts[names].map(lambda cell: cell.removeprefix(prefix))
        above.append(f"{prefix}…")
    if len(texts) > 1:
        constant = [name for name in texts if texts[name].nunique() == 1][: texts.shape[1] - 1]
        above += [f"{name}: {texts[name].iloc[0]}" for name in constant if texts[name].iloc[0]]
        texts = texts.drop(columns=constant)
    body = _blocks(texts, width)
    return f"{'; '.join(above)}\n{body}" if above else body


def _shared_prefix(names: list[str]) -> str:
    """The beginning that all names share, up to a letter that ends a word; empty if too short."""
    if len(set(names)) < 2:
        return ""
    models = [name.partition("@")[0] for name in names]
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*models, strict=False))
    shared = "".join(letters[0] for letters in same)
    end = max(shared.rfind(mark) for mark in ":_-/.") + 1
    return shared[:end] if end > 3 else ""


def _blocks(texts: pd.DataFrame, width: int) -> str:
    """Columns side by side, names to the left; those beyond the width in further blocks."""
    columns = []
    for name in texts:
        size = max(map(len, (name, *texts[name])))
        align = str.ljust if name in NAMES else str.rjust
        columns.append([align(cell, size) for cell in (name, *texts[name])])
    first, blocks = columns[0], [[columns[0]]]
    for column in columns[1:]:
        used = sum(len(c[0]) + 2 for c in blocks[-1])
        if len(blocks[-1]) > 1 and used + len(column[0]) > width:
            blocks.append([first])
        blocks[-1].append(column)
    return "\n\n".join(
        "\n".join("  ".join(row).rstrip() for row in zip(*block, strict=True)) for block in blocks
    )
