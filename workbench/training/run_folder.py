"""The folder of a run: its identity, its lock, and its tables."""

from __future__ import annotations

import csv
import fcntl
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import require_folder, write_text
from workbench.training import checkpoints, ranks
from workbench.training.files import EVALUATION, IDENTITY, METRICS
from workbench.training.status import is_complete, read_record

SHOWN = 6
"""Differing fields that a refusal names."""
UNDECIDING = ("keep", "log_every")
"""Training options that decide no weights; only older records list them."""
NAMES = {"dataset": "images", "val": "val_images", "init": "init_sha256"}
"""Fields with a name, and the fields with the hash of what it names: it may have moved."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create the folder if needed, and lock it against other processes that would train in it.

    The lock ends with the process, however it ends. Forked processes, such as readers of the data,
    do not hold it. The process that holds it may do so again in an inner block, at whose end the
    lock ends.

    Raises
    ------
    InputError
        Another process trains in the folder, or it is a file.
    """
    require_folder(folder, "the folder of the run")
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
) -> bool:
    """Record the identity of a run, or compare it with the record.

    Parameters
    ----------
    identity : mapping
        Everything that decides the results, as JSON: data, model, configs, seed; ``code`` is a hash
        of the code. A complete run may be of other code.
    device : str
        Torch device. Device and library versions may differ when a run resumes; the difference is
        logged, since the results then differ slightly from those of an uninterrupted run.
    libraries : mapping
        Versions of libraries beside torch.

    Returns
    -------
    bool
        Whether other code has completed the run, which may be reported but not trained.

    Raises
    ------
    InputError
        As :func:`refuse_other_run`.
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
        refuse_other_run(folder, identity)
        if ranks.rank() == 0:
            with checkpoints.writing(IDENTITY, folder):
                strict_json.write(now, path)
        return False
    then = read_record(folder)
    of_other_code = refuse_other_run(folder, {**dict.fromkeys(then["identity"]), **identity})
    if of_other_code:
        log(f"note: another version of the code has trained {folder}; its results are reported")
    elif not is_complete(folder, then["identity"]):
        for name, (old, new) in _differing(then["environment"], now["environment"]):
            log(f"note: {name} was {old} and is {new}; resumed results are not bit-identical")
    return of_other_code


def refuse_other_run(folder: Path, known: Mapping[str, Any]) -> bool:
    """Refuse a folder that holds another run, as far as is known; nothing is written.

    `known` are fields of an identity, as for :func:`check_identity`; others are not compared.

    Returns
    -------
    bool
        Whether other code has completed the run.

    Raises
    ------
    InputError
        The folder belongs to another run, or holds the files of one without its record.
    """
    if not (folder / IDENTITY).exists():
        for found in [*checkpoints.existing(folder), folder / METRICS, folder / EVALUATION]:
            if found.exists():
                raise InputError(
                    f"{folder} holds {found.name} but no {IDENTITY}, which tells what run it "
                    f"belongs to; name another folder, or restore {IDENTITY}"
                )
        return False
    then = read_record(folder)["identity"]
    recorded = {name: then.get(name) for name in known}
    differing = dict(_differing(recorded, strict_json.jsonable(known)))
    for name in UNDECIDING:
        differing.pop(f"training.{name}", None)
    for name, content in NAMES.items():
        if content in known and not any(key.partition(".")[0] == content for key in differing):
            differing.pop(name, None)
    if differing and not (differing.keys() == {"code"} and is_complete(folder, then)):
        raise _refusal(folder, differing)
    return bool(differing)


def _refusal(folder: Path, differing: Mapping[str, tuple[Any, Any]]) -> InputError:
    """The first differing fields, with a remedy that fits them."""
    found = [f"{name} was {old} there and is {new} now" for name, (old, new) in differing.items()]
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    options = "the recorded options" if differing.keys() != {"code"} else "the command"
    version = " with the version of the code that began it" if "code" in differing else ""
    return InputError(
        f"{folder} holds another run: {', '.join(found[:SHOWN])}{more}; name another folder, or "
        f"repeat {options}{version}"
    )


def refuse_changed(where: str, what: str, then: Any, now: Any) -> None:
    """Refuse a value that differs from a run's record.

    Parameters
    ----------
    where, what : str
        Start of the message, and name of the value.
    then, now : Any
        Recorded JSON value, and present value, which :mod:`~workbench.results.strict_json` can
        write.

    Raises
    ------
    InputError
        The first difference.
    """
    for name, (old, new) in _differing(then, strict_json.jsonable(now), what):
        raise InputError(
            f"{where}: {name} was {old} in training and is {new} now; restore it, or train again"
        )


def _differing(then: Any, now: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Dotted name, and both values, of each difference between two JSON values."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from _differing(then.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif then != now:
        yield name, (then, now)


class Metrics:
    """Appends rows to a table of a run, one per reported step.

    Parameters
    ----------
    name : str
        ``metrics.csv`` or ``evaluation.csv``.
    after : int
        Step after which the run resumes; rows of later steps, left by a killed run, are removed.
    """

    def __init__(self, folder: Path, name: str, after: int) -> None:
        self._folder, self._name = folder, name
        path = folder / name if ranks.rank() == 0 else Path(os.devnull)
        if ranks.rank() > 0:
            self._empty, self._file = True, path.open("a", encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        rows = [line for line in lines[1:] if line.endswith("\n")]  # the last may be cut off
        kept = [line for line in rows if int(line.partition(",")[0] or 0) <= after]
        self._empty = not (after and lines)
        with self._writing():
            write_text("".join(lines[:1] + kept if after else []), path)
            self._file = path.open("a", newline="", encoding="utf-8")

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; the first row decides the columns."""
        writer = csv.writer(self._file, lineterminator="\n")
        with self._writing():
            if self._empty:
                writer.writerow(row)
            self._empty = False
            writer.writerow(row.values())
            self._file.flush()

    def sync(self) -> None:
        """Flush all rows to disk."""
        if ranks.rank() == 0:
            with self._writing():
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a row that could not be written fails again."""
        with self._writing():
            self._file.close()

    def _writing(self) -> AbstractContextManager[None]:
        return checkpoints.writing(self._name, self._folder)
