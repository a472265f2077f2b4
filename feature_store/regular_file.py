"""Read regular files only: a pipe, socket or device keeps its reader waiting, or never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: str | Path) -> BinaryIO:
    """The file, opened for reading without a buffer.

    Raises
    ------
    OSError
        It does not exist, may not be read, or is not a regular file.
    """
    found = os.stat(path)  # before opening: opening a device or a pipe may have effects
    if stat.S_ISREG(found.st_mode):
        handle = open(path, "rb", buffering=0, opener=_opener)  # noqa: SIM115
        found = os.fstat(handle.fileno())
        if stat.S_ISREG(found.st_mode):
            return handle
        handle.close()
    kind = KINDS.get(stat.S_IFMT(found.st_mode), "something else")
    raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))


def read_regular(path: str | Path, limit: int | None = None) -> bytes:
    """All bytes of a regular file, as many as it had when it was opened.

    Raises
    ------
    OSError
        As :func:`open_regular`; also a file of more than `limit` bytes.
    """
    with open_regular(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        if limit is not None and size > limit:
            raise OSError(errno.EFBIG, f"{size} bytes, expected at most {limit}", str(path))
        parts = []
        while size and (part := handle.read(size)):
            parts.append(part)
            size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _opener(path: str, flags: int) -> int:
    """Returns at once where a pipe has taken the file's place meanwhile."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
