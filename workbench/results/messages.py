"""Lines for people on standard output and standard error, without control characters."""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from workbench.interrupts import leave_terminal

_RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""C0 and C1 without the line feed, marks that reorder text, and bytes that were not UTF-8."""


class OutputClosed(Exception):
    """The reader of standard output has closed it, as ``head`` does."""


class ErrorStream:
    """Standard error that may close or fill up meanwhile: what cannot be written is lost.

    Progress bars and warnings of libraries are written there too, and no line of theirs is a
    reason to stop.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As a text stream."""
        try:
            return int(self._stream.write(text))
        except OSError:
            leave_terminal()
            return len(text)

    def flush(self) -> None:
        """As a text stream."""
        try:
            self._stream.flush()
        except OSError:
            leave_terminal()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def printable(text: str) -> str:
    r"""The text with control characters written as escapes; line feeds stay.

    Names of files, images and classes come from others, and a terminal obeys what they contain.

    >>> printable("a\x1b[2Jb\tc\n")
    'a\\x1b[2Jb\\tc\n'
    """
    return _RAW.sub(lambda raw: raw[0].encode("unicode_escape").decode(), text)


def show(text: str) -> None:
    """Print on standard output; characters that its encoding lacks are written as escapes.

    Raises
    ------
    OutputClosed
        Nobody reads it any more.
    """
    if sys.stdout is not None:
        encoding = sys.stdout.encoding or "utf-8"
        text = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        try:
            print(text, flush=True)
        except BrokenPipeError as error:
            raise OutputClosed from error


def note(*lines: str) -> None:
    """Print lines on standard error; where it is closed, missing or full, they are lost."""
    if sys.stderr is not None and not sys.stderr.closed:
        with _beside_bars():
            for line in lines:
                print(printable(line), file=ErrorStream(sys.stderr), flush=True)


def _beside_bars() -> AbstractContextManager:
    """Where lines can be printed: progress bars leave a terminal meanwhile; in a log file, which
    keeps what they have written, their line ends."""
    tqdm = sys.modules.get("tqdm")  # slow to import, and without it there is no bar
    bars = list(tqdm.tqdm._instances) if tqdm else []
    if not bars:
        return nullcontext()
    if sys.stderr.isatty():
        return type(bars[0]).external_write_mode(file=sys.stderr)
    ErrorStream(sys.stderr).write("\n")
    return nullcontext()
