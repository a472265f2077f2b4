"""Files of results: whole or not there, and safe to open in a spreadsheet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from analyses.reading.csv_cells import neutralised
from feature_store.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; file or folder gets its name only when written without an error.

    A full disk or an interruption leaves the file that was there before, or none. Folders are made,
    and what a killed process left under the temporary name is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    _remove(partial)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        _remove(partial)
        raise


def require_folder(path: Path, option: str) -> None:
    """Refuse a file, or a path below a file, where an option expects a folder to write to."""
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"{option} is {path}, but {place} is a file; name a folder")


def require_writable(path: Path) -> None:
    """Refuse, before a long computation, a path that cannot become a file.

    Raises
    ------
    InputError
        It is a folder, or lies below a file or in a folder that may not be written to.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"{path} cannot be written: {above} is a file; name another folder")
    if not os.access(above, os.W_OK):
        raise InputError(f"{path} cannot be written: {above} is read-only; name another folder")


def _remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV without its index, see :mod:`analyses.reading.csv_cells`."""
    with written_whole(path) as partial:
        neutralised(table).to_csv(partial, index=False)
