"""``lmdb:DIR``: a database whose keys are image ids and whose values are encoded images."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.location import Archive, located
from workbench.datasets.archives.members import in_folders
from workbench.datasets.base import Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.optional import library

PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
"""How pickles begin; they are never loaded, as loading one runs what it contains."""

_open: dict[str, tuple[Archive, int, Any]] = {}
"""Path to the database as it was listed, the process that opened it, and the open database."""
_opening = threading.Lock()


@dataclass(frozen=True)
class ValueReader:
    """Image id, which is the key -> the value."""

    archive: Archive

    def __call__(self, image_id: str) -> bytes:
        self.archive.require_unchanged()
        with _opened(self.archive).begin() as transaction:
            value = transaction.get(image_id.encode())
        if value is None:
            raise DecodeError("the database no longer holds this key")
        if value.startswith(PICKLES):
            raise DecodeError("a pickle, which is not loaded; store the encoded image")
        return value

    def state(self, image_id: str) -> list[int]:
        """[bytes, modification time in ns] of the database."""
        return self.archive.state


def open_lmdb(name: DatasetName) -> Dataset:
    """Images in the order of their keys, which is that of a database filled in this order.

    A key with slashes has the text before the first one as its class, as a path of ``folder:``.
    Keys of the form ``__name__`` are counted in ``skipped``; a value that is not an image is a
    failed row.

    Raises
    ------
    InputError
        The library is missing; no database there, or a truncated one; a key that is not UTF-8; the
        values are pickles.
    """
    path = os.path.realpath(os.path.expanduser(name.path))
    if os.path.isdir(path):
        path = os.path.join(path, "data.mdb")
    (archive,) = located([path], str(name))
    lmdb = library("lmdb", str(name))
    skipped: Counter[str] = Counter()
    try:
        environment = _opened(archive)
        _refuse_truncated(environment, archive, str(name))
        ids = _keys(environment, str(name), skipped)
    except lmdb.Error as error:
        raise InputError(
            f"{name} is not a database of LMDB, or is damaged ({error}); copy it again"
        ) from None
    found = in_folders(str(name), ids, ValueReader(archive), skipped)
    _refuse_pickles(environment, ids[0], str(name))
    return found


def _opened(archive: Archive) -> Any:
    """The database, opened once in each process: a forked one may not use its parent's."""
    lmdb = library("lmdb", f"lmdb:{archive.path}")
    with _opening:
        seen, process, environment = _open.get(archive.path, (None, 0, None))
        if (seen, process) == (archive, os.getpid()):
            return environment
        if environment is not None:
            environment.close()
        environment = lmdb.open(archive.path, subdir=False, readonly=True, lock=False, create=False)
        _open[archive.path] = archive, os.getpid(), environment
        return environment


def _refuse_truncated(environment: Any, archive: Archive, what: str) -> None:
    """Reading a page behind the end of the file would end this process."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if archive.size < needed:
        raise InputError(
            f"{what} is truncated: {archive.size} bytes, expected {needed}; copy it again"
        )


def _keys(environment: Any, what: str, skipped: Counter[str]) -> list[str]:
    ids = []
    with environment.begin() as transaction:
        for key in transaction.cursor().iternext(keys=True, values=False):
            if key.startswith(b"__") and key.endswith(b"__"):
                skipped["__key__"] += 1
                continue
            try:
                ids.append(key.decode())
            except UnicodeDecodeError:
                raise InputError(
                    f"{what}: the key {key!r} is not valid UTF-8 and cannot be an image id"
                ) from None
    return ids


def _refuse_pickles(environment: Any, first: str, what: str) -> None:
    with environment.begin() as transaction:
        if transaction.get(first.encode()).startswith(PICKLES):
            raise InputError(
                f"{what} holds pickles, which are not loaded (the first is {first!r}); expected "
                "encoded images, such as the bytes of JPEG files"
            )
