"""Text in CSV cells that a spreadsheet would run as a formula: quoted in writing, restored."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

_FORMULA = re.compile("'*[=+\\-@\t\r]")
"""How a spreadsheet's formulas begin, and what :func:`neutralised` makes of them."""


def neutralised(table: pd.DataFrame) -> pd.DataFrame:
    r"""The table with an apostrophe before cells and column names that begin with = + - @ \t \r.

    Numbers, including numbers stored as text, are unchanged. :func:`restored` is the inverse.

    >>> neutralised(pd.DataFrame({"class": ["=1+1", "-0.5", "cat"]}))["class"].tolist()
    ["'=1+1", '-0.5', 'cat']
    """
    return _of_text(table, _neutral)


def restored(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it was before :func:`neutralised`."""
    return _of_text(table, _restored)


def _restored(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _neutral(text: str) -> str:
    if not _FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def _of_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def cell(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    changed = table.copy(deep=False)
    for n in range(table.shape[1]):
        column = table.iloc[:, n]
        if not pd.api.types.is_numeric_dtype(column.dtype):
            kind = column.dtype if isinstance(column.dtype, pd.StringDtype) else object
            changed.isetitem(n, pd.Series(map(cell, column), column.index, dtype=kind))
    return changed.set_axis([cell(name) for name in table.columns], axis=1)
