"""Questions of CSV and TSV files. Importing this module does not import torch."""

from __future__ import annotations

import csv
import io
import itertools
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from feature_store.errors import InputError
from feature_store.regular_file import read_regular
from workbench.vlm.question import Question

SEPARATOR = "|"
"""Separates the choices in a cell."""
LETTERS = tuple(string.ascii_uppercase)
"""Columns of lettered choices."""
LONGEST = 4096
"""Characters of a path (PATH_MAX of Linux); an image in base64 has more."""


def of_table(path: Path) -> Iterator[Question]:
    """Yield one question per row: columns image or path, question, answer; choices or A, B, ....

    Columns A and B in upper case, and those that follow in the alphabet, are choices. Other names
    count in any case, and spaces around a name or a cell do not count.

    Raises
    ------
    InputError
        Not a UTF-8 table; a missing or repeated column; a row of another length; images in cells.
    """
    names, rows = _cells(path)
    columns = [name if name in LETTERS else name.lower() for name in names]
    letters = _letters(columns)
    if twice := [name for name in dict.fromkeys(columns) if name and columns.count(name) > 1]:
        raise InputError(f"{path} has {columns.count(twice[0])} columns {twice[0]}; keep one")
    image = next((name for name in ("image", "image_path", "path") if name in columns), "image")
    if missing := [name for name in (image, "question", "answer") if rows and name not in columns]:
        raise InputError(
            f"{path} has the columns {columns}; it needs image (or path), question and answer, and "
            f"lacks {', '.join(missing)}"
        )
    for number, cells in enumerate(rows, start=2):
        if len(cells) != len(columns):
            raise InputError(f"{path}: line {number} has more or fewer cells than columns")
        row = dict(zip(columns, cells, strict=True))
        if len(row[image]) > LONGEST:
            raise InputError(
                f"{path}: line {number} has {len(row[image])} characters in the column {image}, "
                f"an image itself rather than the name of one; write the images to files, extract "
                f"them to a store, and replace the column by one called path with their names"
            )
        yield _question(row, image, letters)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the cells of each row that is not blank, stripped."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        text = read_regular(path).decode("utf-8-sig")
        with _cells_of_any_length(len(text)):
            table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            rows = [[cell.strip() for cell in row] for row in table if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as a UTF-8 table: {error}") from None
    return (rows[0], rows[1:]) if rows else ([], [])


@contextmanager
def _cells_of_any_length(longest: int) -> Iterator[None]:
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, longest))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _letters(columns: Sequence[str]) -> list[str]:
    """The columns of choices: A, B, ..., without a gap; none if there is no B."""
    found = list(itertools.takewhile(columns.__contains__, LETTERS))
    return found if len(found) > 1 else []


def _question(row: dict[str, str], image: str, letters: Sequence[str]) -> Question:
    given = [name for name in letters if row[name]]
    choices = [row[name] for name in given]
    if row.get("choices"):
        choices = [part.strip() for part in row["choices"].split(SEPARATOR)]
    answer = row["answer"]
    if answer.upper() in given and answer not in choices:
        answer = row[answer.upper()]
    hint = row.get("hint")
    return Question(
        image=row[image],
        question=f"{hint}\n{row['question']}" if hint else row["question"],
        answer=answer,
        choices=tuple(choices),
        type=row.get("type") or row.get("category") or "",
    )
