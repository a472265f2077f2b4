"""Columns of the tables of a LeRobotDataset, and the frames that they list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.errors import InputError
from workbench.datasets.optional import library

TOLERANCE = 0.1
"""Frames by which a time stamp may differ from its frame's number over the rate."""


def rows_of_episodes(path: Path, fps: float) -> dict[int, tuple[int, int]]:
    """Episode to its first row and number of rows in a table.

    Raises
    ------
    InputError
        Frames that are missing or out of order, time stamps of another rate than `fps`, or values
        that are not numbers.
    """
    names = ("episode_index", "frame_index", "timestamp")
    table = zip(names, read_columns(path, names), strict=True)
    episode, frame, seconds = (_numbers(column, name, path) for name, column in table)
    found = {}
    for index in np.unique(episode).tolist():
        rows = np.flatnonzero(episode == index)
        if (np.diff(rows) != 1).any():
            raise InputError(f"the rows of episode {index} in {path} are not next to each other")
        wrong = np.flatnonzero(frame[rows] != np.arange(len(rows)))
        if len(wrong):
            at = int(wrong[0])
            raise InputError(
                f"episode {index} in {path} has frame {frame[rows[at]]:g} where frame {at} is "
                f"expected; frames are missing or out of order: record or export it again"
            )
        late = ~(np.abs(seconds[rows] * fps - np.arange(len(rows))) <= TOLERANCE)
        if late.any():
            at = int(np.flatnonzero(late)[0])
            raise InputError(
                f"episode {index} in {path}: frame {at} is at {seconds[rows][at]:.4g} s, expected "
                f"{at / fps:.4g} s at {fps:g} frames per second; the frame rates "
                f"differ, so resample the demonstrations to one"
            )
        found[index] = int(rows[0]), len(rows)
    return found


def read_columns(path: Path, names: Sequence[str]) -> list[Any]:
    """Columns of a table as lists of Python values or of numbers.

    Raises
    ------
    InputError
        The file is missing or no such table, or lacks a column.
    """
    with opened(path) as file:
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise InputError(
                f"{path} has no column {missing[0]!r}; there are: "
                f"{', '.join(file.schema_arrow.names)}"
            )
        table = file.read(list(names))
        return [table[name].to_pylist() for name in names]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A table as ``pyarrow.parquet.ParquetFile``; what it raises becomes one line.

    Raises
    ------
    InputError
        The file is missing or not such a table, or the library is not installed.
    """
    parquet = library("pyarrow.parquet", f"lerobot: {path}")
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except InputError:
        raise
    except (OSError, ValueError, NotImplementedError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"cannot read {path}: {line}; copy the dataset again") from None


def _numbers(column: list[Any], name: str, path: Path) -> np.ndarray:
    bad = [value for value in column if type(value) not in (int, float)]
    if bad:
        raise InputError(
            f"{name} in {path} holds {bad[0]!r}; expected a number in each row: copy the "
            f"dataset again"
        )
    return np.asarray(column)
