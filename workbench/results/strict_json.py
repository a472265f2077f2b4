"""JSON that every reader accepts: numbers that are not finite become null."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.errors import InputError
from workbench.results.files import write_text


def jsonable(value: Any) -> Any:
    """Convert a value to types of JSON; a table becomes a list with one object per row.

    Examples
    --------
    >>> jsonable({1: (np.float32(0.5), float("nan")), "all": np.arange(2)})
    {'1': [0.5, None], 'all': [0, 1]}
    """
    if hasattr(value, "to_dict"):  # a pandas.DataFrame, without importing pandas
        value = value.to_dict(orient="records")
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [jsonable(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def dumps(value: Any) -> str:
    """One line of JSON, as ``--json`` prints it."""
    return json.dumps(jsonable(value), allow_nan=False)


def write(value: Any, path: Path) -> None:
    """Write a JSON file; it appears whole or not at all."""
    write_text(json.dumps(jsonable(value), indent=1, allow_nan=False) + "\n", path)


TABLE = (
    "if it is a table or a measurement, delete it and run again; if it is a file of your own, move "
    "it out of this folder"
)
"""What to do about a result that cannot be read."""


def read(path: Path, remedy: str = TABLE) -> Any:
    """Read a JSON file; `remedy` ends the message where it is not one.

    Raises
    ------
    InputError
        Not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); {remedy}") from error
