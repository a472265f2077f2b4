"""The rows of an image table, and its labels: one rule or one refusal for each ambiguous case."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from feature_store.errors import InputError
from feature_store.regular_file import read_regular
from workbench.datasets.base import UNLABELLED

COLUMNS = ("path", "label", "mask", "depth")
MISSING = ("nan", "none", "null", "na", "n/a", "<na>")
"""Labels, in any case, that may mean that there is none; they are refused."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_WHOLE = re.compile(r"-?\d+", re.ASCII)


def read_rows(table: Path) -> list[dict[str, str]]:
    """One row per image, in the order of first mention; column name to cell.

    Raises
    ------
    InputError
        See :func:`workbench.datasets.table.open_csv`.
    """
    where = repr(str(table))
    try:
        text = read_regular(table).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {where} as a UTF-8 table: {error}") from None
    columns = [name.strip() for name in lines[0]] if lines else []
    columns = [name.lower() if name.lower() in COLUMNS else name for name in columns]
    _check_columns(where, columns)
    rows: dict[str, dict[str, str]] = {}
    first: dict[str, int] = {}
    for number, cells in enumerate(filter(None, lines[1:]), start=1):
        row = _checked_row(f"{where}: row {number}", columns, cells)
        path = row["path"]
        if rows.setdefault(path, row) != row:
            raise InputError(
                f"{where}: rows {first[path]} and {number} are both of {path!r} and differ in "
                f"{_difference(rows[path], row)}; give an image one label and one map"
            )
        first.setdefault(path, number)
    if not rows:
        raise InputError(f"{where} lists no image; add one line per image")
    return list(rows.values())


def _check_columns(where: str, columns: Sequence[str]) -> None:
    if "path" not in columns:
        raise InputError(
            f"{where} has the columns {list(columns)}; its first line must name a column 'path' "
            f"(known columns: {', '.join(COLUMNS)})"
        )
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise InputError(f"{where} has {columns.count(name)} columns {name!r}; keep one")


def _checked_row(where: str, columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The cells of the known columns, path and label in their one spelling."""
    if len(cells) != len(columns):
        raise InputError(f"{where} has {len(cells)} cells, expected {len(columns)}")
    if any("\n" in cell or "\r" in cell for cell in cells):
        raise InputError(f"{where} has a line break in a cell; close its quotation marks")
    row = {name: cell for name, cell in zip(columns, cells, strict=True) if name in COLUMNS}
    if not row["path"].strip():
        raise InputError(f"{where} has no path")
    row["path"] = str(PurePosixPath(row["path"].replace("\\", "/")))
    if "label" in row:
        label = unicodedata.normalize("NFC", row["label"].strip())
        if label.lower() in MISSING:
            raise InputError(
                f"{where} has the label {label!r}, which may mean that there is none; leave the "
                f"cell empty if so, or give the class another name"
            )
        row["label"] = label
    return row


def _difference(one: dict[str, str], other: dict[str, str]) -> str:
    return ", ".join(
        f"{name} ({one[name]!r} and {other[name]!r})" for name in one if one[name] != other[name]
    )


def numbered_labels(table: Path | str, labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Class names in order, and (image,) int32: the number of each label, -1 for an empty one.

    Raises
    ------
    InputError
        Two labels are one number, such as 1 and 01, or 1 and 1.0.
    """
    names = sorted({label for label in labels if label})
    values: dict[float, str] = {}
    for name in names:
        if _NUMBER.fullmatch(name) and values.setdefault(float(name), name) != name:
            raise InputError(
                f"{str(table)!r}: the labels {values[float(name)]!r} and {name!r} are one number; "
                f"write it in one way"
            )
    if all(_WHOLE.fullmatch(name) for name in names):
        names.sort(key=int)
    number = {name: code for code, name in enumerate(names)}
    return names, np.array([number.get(label, UNLABELLED) for label in labels], np.int32)
