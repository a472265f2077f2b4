"""A table of results as Markdown, CSV and LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.results.files import write_csv, write_text
from workbench.results.messages import printable


def write_table(
    table: pd.DataFrame,
    stem: Path,
    *,
    shown: pd.DataFrame | None = None,
    caption: str = "",
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write ``stem.md``, ``stem.csv`` and ``stem.tex``; their paths.

    The CSV holds the whole table at full precision. Markdown and LaTeX show `shown`, by default the
    table itself; Markdown quotes `notes` below it.
    """
    shown = table if shown is None else shown
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("md", "csv", "tex")]
    above = f"{caption}\n\n" if caption else ""
    below = "".join(f"\n> {note}\n" for note in notes)
    write_text(f"{above}{to_markdown(shown)}\n{below}", paths[0])
    write_csv(table, paths[1])
    write_text(to_latex(shown, caption=caption), paths[2])
    return paths


def to_markdown(table: pd.DataFrame, floats: str = ".4f") -> str:
    """A table in Markdown, without a line break at its end; text stays as it is."""
    texts = cells(table, floats).map(lambda cell: cell.replace("|", "\\|"))
    numeric = map(pd.api.types.is_numeric_dtype, table.dtypes)
    align = ["right" if number else "left" for number in numeric]
    return texts.to_markdown(index=False, disable_numparse=True, colalign=align)


def to_latex(table: pd.DataFrame, floats: str = ".4f", caption: str = "") -> str:
    """A table in LaTeX with booktabs rules, its special characters escaped."""
    texts = cells(table, floats)
    align = "".join("l" if _is_text(texts.iloc[:, n]) else "r" for n in range(texts.shape[1]))
    style = texts.map(escaped).style.hide(axis="index").format_index(escaped, axis=1)
    return style.to_latex(
        hrules=True, caption=escaped(caption) or None, column_format=align, multicol_align="c"
    )


def cells(table: pd.DataFrame, floats: str = ".4f") -> pd.DataFrame:
    """Every cell as text; floating-point numbers in the given format."""
    return table.map(lambda cell: _text(cell, floats))


def _text(cell: Any, floats: str) -> str:
    if cell is None:
        return ""
    return format(cell, floats) if isinstance(cell, float | np.floating) else printable(str(cell))


def _is_text(column: pd.Series) -> bool:
    """Whether no cell begins as a number does."""
    return not any(cell[:1].isdigit() or cell[:1] in ("+", "-", "−") for cell in column)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "−": "$-$", "×": r"$\times$", "∝": r"$\propto$",
    "⁰": "$^0$", "→": r"$\rightarrow$", "|": r"\textbar{}",
}  # fmt: skip


def escaped(text: Any) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_TEX.get(character, character) for character in str(text))
