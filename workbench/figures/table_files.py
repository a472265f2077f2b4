"""One table as Markdown, CSV and LaTeX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def write_table(
    table: pd.DataFrame, stem: Path, *, columns: Sequence[str] | None = None
) -> list[Path]:
    """Write ``stem.md``, ``stem.csv`` and ``stem.tex``; their paths.

    Parameters
    ----------
    table : pandas.DataFrame
        The CSV holds all of it at full precision.
    stem : Path
        File name without suffix; its folder is made.
    columns : sequence of str, optional
        What Markdown and LaTeX show, four digits behind the point; everything by default.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    shown = table[list(columns)] if columns else table
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("md", "csv", "tex")]
    paths[0].write_text(shown.to_markdown(index=False, floatfmt=".4f") + "\n", encoding="utf-8")
    table.to_csv(paths[1], index=False)
    numbers = [pd.api.types.is_numeric_dtype(kind) for kind in shown.dtypes]
    style = shown.style.hide(axis="index").format(precision=4, escape="latex")
    style = style.format_index(escape="latex", axis=1)
    align = "".join("r" if number else "l" for number in numbers)
    paths[2].write_text(style.to_latex(hrules=True, column_format=align), encoding="utf-8")
    return paths
