"""The folder of a run: who it is, who trains in it, and its table of metrics."""

from __future__ import annotations

import csv
import fcntl
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import write_text
from workbench.training import ranks
from workbench.training.files import IDENTITY


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder if needed, and keep other processes from training in it meanwhile.

    The lock ends with the process, however it ends; processes that it forked, such as those that
    read its data, do not hold it.

    Raises
    ------
    InputError
        Another process trains in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.rank() > 0:  # the first process holds it for all of them
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise InputError(
                f"another process trains in {folder}; wait for it, or name another folder"
            ) from None
        yield


def check_identity(
    folder: Path,
    identity: Mapping[str, Any],
    device: str,
    log: Callable[[str], None],
    libraries: Mapping[str, str],
) -> None:
    """Record what decides the results of a run, or compare it with the record.

    Parameters
    ----------
    folder : Path
    identity : mapping
        Name to anything that JSON has: data, model, configs, seed.
    device : str
        Where the run trains. Device and versions of libraries may differ when a run resumes, at
        the price of a line in the log: its numbers are then not exactly those of an uninterrupted
        run.
    log : callable
        Prints a line.
    libraries : mapping
        Versions of libraries beside torch.

    Raises
    ------
    InputError
        The folder belongs to another run.
    """
    now = {
        "identity": strict_json.jsonable(identity),
        "environment": {
            "torch": torch.__version__, "python": platform.python_version(), "device": device,
            **libraries, **({"processes": ranks.count()} if ranks.count() > 1 else {}),
        },
    }  # fmt: skip
    path = folder / IDENTITY
    if not path.exists():
        if ranks.rank() == 0:
            strict_json.write(now, path)
        return
    then = strict_json.read(path)
    for name, value in _differing(then["identity"], now["identity"]):
        raise InputError(
            f"{folder} holds another run: {name} was {value[0]} there and is {value[1]} now; "
            f"name another folder, or ask for the same"
        )
    for name, value in _differing(then["environment"], now["environment"]):
        log(f"note: {name} was {value[0]} and is {value[1]}; resumed results are not bit-identical")


def refuse_changed(where: str, what: str, then: Any, now: Any) -> None:
    """Refuse what is not as a run recorded it.

    Parameters
    ----------
    where, what : str
        What is opened, and the name of the part that is compared.
    then, now : Any
        JSON value of the record; and what there is, which :mod:`~workbench.results.strict_json`
        can write.

    Raises
    ------
    InputError
        The first difference.
    """
    for name, (old, new) in _differing(then, strict_json.jsonable(now), what):
        raise InputError(
            f"{where}: {name} was {old} in training and is {new} now; use the same, or train again"
        )


def _differing(then: Any, now: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Dotted name, and both values, of each difference between two JSON values."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from _differing(then.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif then != now:
        yield name, (then, now)


class Metrics:
    """The rows of a table of a run: step, and what is reported of it.

    Parameters
    ----------
    folder : Path
    name : str
        ``metrics.csv`` or ``evaluation.csv``.
    after : int
        Step from which the run goes on: rows of later steps, of a run that was killed, are removed.
    """

    def __init__(self, folder: Path, name: str, after: int) -> None:
        path = folder / name if ranks.rank() == 0 else Path(os.devnull)
        if ranks.rank() > 0:
            self._empty, self._file = True, path.open("a", encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines[1:] if int(line.partition(",")[0] or 0) <= after]
        write_text("".join(lines[:1] + kept if after else []), path)
        self._empty = not (after and lines)
        self._file = path.open("a", newline="", encoding="utf-8")

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; the first one decides the columns."""
        writer = csv.writer(self._file, lineterminator="\n")
        if self._empty:
            writer.writerow(row)
        self._empty = False
        writer.writerow(row.values())
        self._file.flush()

    def sync(self) -> None:
        """Put all rows on the disk."""
        if ranks.rank() == 0:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
