"""Columns of the tables of a LeRobotDataset, and the frames that they list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.errors import InputError, some
from workbench.datasets.optional import library

TOLERANCE = 0.1
"""Frames by which a time stamp may differ from its frame's number over the rate."""


def rows_of_episodes(path: Path, fps: float) -> dict[int, tuple[int, int]]:
    """Episode to its first row and number of rows in a table.

    Raises
    ------
    InputError
        Frames that are missing or out of order, or time stamps of another rate than `fps`.
    """
    table = read_columns(path, ("episode_index", "frame_index", "timestamp"))
    episode, frame, seconds = (np.asarray(column) for column in table)
    found = {}
    for index in np.unique(episode).tolist():
        rows = np.flatnonzero(episode == index)
        if (np.diff(rows) != 1).any() or (frame[rows] != np.arange(len(rows))).any():
            raise InputError(
                f"episode {index} in {path} has the frames {some(frame[rows].tolist())}, expected "
                f"0 to {len(rows) - 1} in order; frames are missing"
            )
        late = np.abs(seconds[rows] * fps - np.arange(len(rows))) > TOLERANCE
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
    parquet = library("pyarrow.parquet", f"lerobot: {path}")
    try:
        with parquet.ParquetFile(path) as opened:
            missing = [name for name in names if name not in opened.schema_arrow.names]
            if missing:
                raise InputError(
                    f"{path} has no column {missing[0]!r}; there are: "
                    f"{', '.join(opened.schema_arrow.names)}"
                )
            table = opened.read(list(names))
            return [table[name].to_pylist() for name in names]
    except InputError:
        raise
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"cannot read {path}: {line}; copy the dataset again") from None
