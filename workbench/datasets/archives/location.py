"""Where archives lie: local files or URLs, several of them written with braces."""

from __future__ import annotations

import datetime
import glob
import io
import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, cast

from feature_store.errors import InputError
from feature_store.regular_file import open_regular
from workbench.datasets.decode import DecodeError
from workbench.datasets.optional import library

MOST = 100_000
"""Archives that one name may stand for: a mistyped range ends here."""
THREADS = 16
"""Archives looked at together: a network answers slowly, but many at a time."""

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


@dataclass(frozen=True)
class Archive:
    """A file that contains images, as it was when it was listed."""

    path: str
    """Local path or URL."""
    size: int
    """Bytes."""
    stamp: int
    """Time of the last change in ns since 1970; 0 if a server does not report it."""

    @property
    def is_remote(self) -> bool:
        """Whether fsspec reads it."""
        return "://" in self.path

    @property
    def state(self) -> list[int]:
        """[bytes, modification time in ns], as commit records keep them."""
        return [self.size, self.stamp]

    def require_unchanged(self) -> None:
        """Refuse to read a file that is no longer the one that was listed.

        Raises
        ------
        DecodeError
            Its size or time is another.
        OSError
            It is gone; drivers of fsspec have errors of their own.
        """
        if self.is_remote:
            self.require(*_remote_state(self.path))
        else:
            found = os.stat(self.path)
            self.require(found.st_size, found.st_mtime_ns)

    def require(self, size: int, stamp: int) -> None:
        """Refuse a file of another size or time than the one that was listed."""
        if (size, stamp) != (self.size, self.stamp):
            raise DecodeError(
                f"{self.path} has changed since it was listed ({self.size} bytes then, {size} now)"
            )

    @property
    def stem(self) -> str:
        """File name without its last extension."""
        return os.path.splitext(self.path.rpartition("/")[2])[0]


def expanded(pattern: str, what: str) -> list[str]:
    """The paths and URLs that a name stands for, in the order of its braces.

    ``{000..012}`` and ``{train,val}`` are expanded as a shell does; ``*`` and ``?`` in local paths
    match files, in sorted order.

    Raises
    ------
    InputError
        Braces without their library, more than :data:`MOST` paths, or a pattern without a match.
    """
    paths = [pattern]
    if "{" in pattern:
        braces = library("braceexpand", what)
        ranges = [abs(int(last) - int(first)) + 1 for first, last in _RANGE.findall(pattern)]
        if math.prod(ranges) > MOST:  # the library would hold all of them in memory
            raise InputError(
                f"{what} stands for {math.prod(ranges)} files, expected at most {MOST}"
            )
        try:
            paths = list(braces.braceexpand(pattern))
        except (ValueError, TypeError) as error:
            raise InputError(f"{what}: its braces cannot be expanded ({error})") from None
    found: list[str] = []
    for path in paths:
        path = path if "://" in path else os.path.expanduser(path)
        matches = [path]
        if "://" not in path and not os.path.exists(path) and glob.has_magic(path):
            matches = sorted(glob.glob(path))
            if not matches:
                raise InputError(f"{what}: no file matches {path!r}; check the path")
        found += matches
    return found


def located(paths: Sequence[str], what: str) -> list[Archive]:
    """Size and time of each archive.

    Raises
    ------
    InputError
        One of them cannot be found, or is not a regular file.
    """

    def locate(path: str) -> Archive:
        return _remote(path, what) if "://" in path else _local(path, what)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(locate, paths))


def opened(archive: Archive) -> BinaryIO:
    """The archive for one pass from its start to its end, with seeking.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    if not archive.is_remote:
        return open_regular(archive.path)
    import fsspec

    return cast(BinaryIO, fsspec.open(archive.path, "rb").open())


class Section(io.RawIOBase):
    """Some consecutive bytes of an open file, as a file: an archive inside another one."""

    def __init__(self, below: BinaryIO, start: int, size: int) -> None:
        self._below, self._start, self._size, self._place = below, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = origin + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._place))
        self._below.seek(self._start + self._place)
        data = self._below.read(count)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _local(path: str, what: str) -> Archive:
    try:
        with open_regular(path) as handle:
            found = os.fstat(handle.fileno())
    except OSError as error:
        raise InputError(f"{what}: cannot read {path!r} ({error.strerror}); check it") from None
    return Archive(path, found.st_size, found.st_mtime_ns)


def _remote(url: str, what: str) -> Archive:
    try:
        return Archive(url, *_remote_state(url))
    # Each driver has errors of its own, and the absence of a driver is an ImportError.
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{what}: cannot read {url!r} ({line}); check it") from None


def _remote_state(url: str) -> tuple[int, int]:
    """Bytes and time in ns, 0 where the server tells none; http gives the time as text."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    found = system.info(path)
    names = ("LastModified", "mtime", "updated", "last_modified", "created")
    time = next((t for n in names if isinstance(t := found.get(n), datetime.datetime)), None)
    if time is None and "Last-Modified" in found:
        with suppress(ValueError):
            time = parsedate_to_datetime(found["Last-Modified"])
    return int(found["size"]), int(time.timestamp() * 1e9) if time else 0
