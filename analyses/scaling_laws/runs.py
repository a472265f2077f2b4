"""Tables of runs, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analyses.reading.csv_cells import restored
from feature_store.errors import InputError


def read_runs(path: str | Path) -> pd.DataFrame:
    """A CSV file of runs.

    Raises
    ------
    InputError
        No such file, not a table, or no rows.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no file {file}; give a CSV file with one run per line")
    try:
        frame = restored(pd.read_csv(file))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a CSV table: {str(error).strip()}") from error
    if frame.empty:
        raise InputError(f"{file} has a header and no runs")
    return frame


def positive(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`frame` with `columns` as positive finite floats.

    Raises
    ------
    InputError
        A missing column, or a cell that is empty, infinite, not a number or not positive. The
        message names the column and the first such lines; the header is line 1.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise InputError(
            f"the table lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}; "
            f"needed: {', '.join(columns)}"
        )
    out = frame.reset_index(drop=True).copy()
    for column in columns:
        numbers = pd.to_numeric(out[column], errors="coerce").astype(float)
        bad = np.flatnonzero(~np.isfinite(numbers) | (numbers <= 0))
        if len(bad):
            lines = ", ".join(str(i + 2) for i in bad[:5]) + (", …" if len(bad) > 5 else "")
            raise InputError(
                f"{column} must be a positive number in every run; line {lines} has "
                f"{_shown(out[column].iloc[bad[0]])}"
            )
        out[column] = numbers
    return out


def _shown(cell: object) -> str:
    """A cell as it stands in the file."""
    if isinstance(cell, str):
        return repr(cell)
    return "an empty cell" if pd.isna(cell) else f"{cell:g}"


def require_spread(values: pd.Series, least: int, why: str) -> None:
    """Refuse a column with fewer than `least` distinct values; `why` ends the message."""
    distinct = values.nunique()
    if distinct < least:
        raise InputError(
            f"{values.name} takes {distinct} distinct value{'s' * (distinct != 1)}; at least "
            f"{least} are needed, because {why}"
        )


def split_star(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The legs of a star sweep, by dimension.

    Runs whose `dimension` is `centre` belong to every leg; their value comes from the column named
    after the leg's dimension. Without a `dimension` column the whole table is one leg, `value`.

    Raises
    ------
    InputError
        A run without a dimension, or centre runs without a column for one of the dimensions.
    """
    if "dimension" not in frame.columns:
        return {"value": frame}
    blank = np.flatnonzero(frame["dimension"].isna())
    if len(blank):
        raise InputError(
            f"dimension is empty in line {blank[0] + 2}; name the dimension that is varied, or "
            "centre"
        )
    names = frame["dimension"].astype(str)
    centre = frame[names == "centre"]
    legs: dict[str, pd.DataFrame] = {}
    for name in dict.fromkeys(names[names != "centre"]):
        leg = frame[names == name]
        if len(centre):
            if name not in frame.columns:
                raise InputError(
                    f"centre runs need a column {name} with their value on that leg; the columns "
                    f"are {', '.join(map(str, frame.columns))}"
                )
            leg = pd.concat([leg, centre.assign(value=centre[name])], ignore_index=True)
        legs[name] = leg
    if not legs:
        raise InputError("all runs are centre runs; add the legs of the star")
    return legs


def pareto(frame: pd.DataFrame) -> pd.Series:
    """Which runs are Pareto-optimal: no other run has less compute and a metric as low.

    Example
    -------
    >>> runs = pd.DataFrame({"compute": [1, 2, 3], "metric": [0.5, 0.6, 0.4]})
    >>> pareto(runs).tolist()
    [True, False, True]
    """
    ordered = frame.sort_values(["compute", "metric"], kind="stable")
    best = ordered["metric"].cummin()
    first = ordered["metric"] < best.shift(fill_value=np.inf)
    return first.reindex(frame.index)
