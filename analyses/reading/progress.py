"""Progress bars on standard error; none if it is closed or missing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from threading import RLock
from typing import Any

from tqdm.auto import tqdm


class _Shown(tqdm):
    """tqdm with a lock of its own.

    tqdm's lock holds between processes, and making it fixes the start method of multiprocessing
    for the whole program. What cannot be written, as to a pipe without a reader, is lost.
    """

    def display(self, *arguments: Any, **options: Any) -> Any:
        with contextlib.suppress(OSError):
            return super().display(*arguments, **options)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


_Shown.set_lock(RLock())


def watched() -> bool:
    """Whether standard error is a terminal."""
    return not _gone() and sys.stderr.isatty()


def _gone() -> bool:
    return sys.stderr is None or sys.stderr.closed


def shown(label: str, *, total: int, unit: str, wanted: bool = True) -> tqdm:
    """A progress bar that stays when done: five lines a second for a person, three a minute in a
    log file."""
    quick = watched() or "ipykernel" in sys.modules
    return _Shown(
        total=total,
        unit=unit,
        desc=label,
        disable=_gone() or not wanted,
        mininterval=0.2 if quick else 20,
    )


class Bar:
    """Counts images under a bar that appears with the first of them.

    A copy that reaches another process counts in silence.
    """

    def __init__(self, label: str = "", total: int = 0) -> None:
        self._label, self._total = label, total
        self._shown: Any = None

    def update(self, images: int) -> None:
        """Advance by this many; nothing is shown without a label."""
        if self._label and self._shown is None and not _gone():
            self._shown = _Shown(desc=self._label, unit="image", total=self._total, leave=False)
        if self._shown is not None:
            self._shown.update(images)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown is not None:
            self._shown.close()

    def __reduce__(self) -> tuple:
        return Bar, ()


def each(sources: Sequence[str], *, progress: bool, label: str) -> Iterable[str]:
    """The sources in turn, under a progress bar if asked."""
    if not progress or _gone():
        return sources
    return _Shown(sources, desc=label, unit="source", leave=False)
