"""Lines for people on standard output and standard error, without control characters."""

from __future__ import annotations

import re
import sys

from workbench.interrupts import leave_terminal

_RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""C0 and C1 without the line feed, marks that reorder text, and bytes that were not UTF-8."""


def printable(text: str) -> str:
    r"""The text with control characters written as escapes; line feeds stay.

    Names of files, images and classes come from others, and a terminal obeys what they contain.

    >>> printable("a\x1b[2Jb\tc\n")
    'a\\x1b[2Jb\\tc\n'
    """
    return _RAW.sub(lambda raw: raw[0].encode("unicode_escape").decode(), text)


def show(text: str) -> None:
    """Print on standard output; characters that its encoding lacks are written as escapes."""
    if sys.stdout is not None:
        encoding = sys.stdout.encoding or "utf-8"
        text = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        print(text, flush=True)


def note(line: str) -> None:
    """Print on standard error; where it is closed, missing or full, the line is lost."""
    if sys.stderr is None or sys.stderr.closed:
        return
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except OSError:
        leave_terminal()
