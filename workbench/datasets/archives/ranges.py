"""Some bytes of an archive, from any thread and any process."""

from __future__ import annotations

import functools
import os
import threading

from feature_store.regular_file import open_regular
from workbench.datasets.archives.location import Archive
from workbench.datasets.decode import DecodeError

BLOCK = 4 << 20
"""Bytes that one request to a server brings: several images, which come next in archive order."""
BLOCKS = 4
"""Such blocks that a process keeps."""

_kept = threading.local()
_asking = threading.Lock()


def read_range(archive: Archive, offset: int, count: int) -> bytes:
    """Exactly this many bytes from an offset.

    Raises
    ------
    DecodeError
        The archive is not the one that was listed, or ends too early.
    OSError
        It cannot be read.
    """
    data = (_of_server if archive.is_remote else _of_file)(archive, offset, count)
    if len(data) != count:
        raise DecodeError(
            f"{archive.path} ends {count - len(data)} bytes before the end of this image"
        )
    return data


def _of_file(archive: Archive, offset: int, count: int) -> bytes:
    """Reads at a place, so that threads and forked processes may share the open file."""
    if getattr(_kept, "archive", None) != archive:
        _kept.archive, _kept.file = None, _File(archive.path)
        _kept.archive = archive
    found = os.fstat(_kept.file.number)
    archive.require(found.st_size, found.st_mtime_ns)
    return os.pread(_kept.file.number, count, offset)


class _File:
    """An open file that is closed with its last reference."""

    def __init__(self, path: str) -> None:
        with open_regular(path) as handle:
            self.number = os.dup(handle.fileno())

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


def _of_server(archive: Archive, offset: int, count: int) -> bytes:
    stop = min(offset + count, archive.size)
    with _asking:  # threads that read one after the other in archive order share a block
        blocks = [
            _block(archive, number, os.getpid())
            for number in range(offset // BLOCK, -(-stop // BLOCK))
        ]
    start = offset // BLOCK * BLOCK
    return b"".join(blocks)[offset - start : stop - start]


@functools.lru_cache(maxsize=BLOCKS)
def _block(archive: Archive, number: int, process: int) -> bytes:
    import fsspec

    system, path = fsspec.core.url_to_fs(archive.path)
    start, stop = number * BLOCK, min((number + 1) * BLOCK, archive.size)
    data = system.cat_file(path, start=start, end=stop)
    archive.require_unchanged()
    if len(data) != stop - start:
        raise OSError(f"{archive.path}: {len(data)} bytes came, {stop - start} were asked for")
    return data
