"""Whole objects by key: commit records, claims and shard files are read and written only here.

A zarr hierarchy is a set of objects under keys. zarr itself reads and creates arrays and groups.
This module writes the objects whose durability and order matter (shards, commit records, claims):
on a local disk to a temporary name that is flushed and renamed, on an object store by one PUT.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from zarr.abc.store import OffsetByteRequest, Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ZipStore

from feature_store.errors import StoreError, UnreadableError
from feature_store.regular_file import read_regular

PARTIAL_SECONDS = 3600.0
"""Age in seconds after which a temporary file is considered left over by a killed process."""

REQUESTS = 128
"""Concurrent requests to an object store; each takes tens of milliseconds, mostly of waiting."""


class Objects(Protocol):
    """Keys to bytes; keys are POSIX paths relative to the root of the store."""

    zarr_store: Store
    url: str

    def get(self, key: str) -> bytes | None:
        """The object's bytes, or None if it does not exist."""

    def get_each(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        """The bytes of many objects in order; None where :meth:`get` returns None or raises."""

    def exists(self, key: str) -> bool:
        """Whether an object exists under the key."""

    def put(self, key: str, data: Any) -> None:
        """Write one whole object, atomically and durably; `data` is a C-contiguous buffer."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Write the object if the key is free; returns whether it was."""

    def names(self, folder: str) -> list[str]:
        """Sorted names directly under a folder; empty if it does not exist."""

    def delete(self, key: str) -> None:
        """Remove an object if it exists."""

    def local_path(self, key: str) -> Path | None:
        """The object's file if objects are local files, else None."""

    def sweep(self, folder: str, *, recursive: bool = True) -> int:
        """Remove the remains of killed writes in a folder; returns the number of files."""

    def age(self, key: str) -> float | None:
        """Seconds since the object was written, by the clock of the disk or object store.

        None if the object does not exist or its time is unknown.
        """


class LocalObjects:
    """Objects as files under a folder; a file either is complete or does not exist."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root
        self.url = str(root)
        self.zarr_store: Store = LocalStore(root, read_only=read_only)

    def get(self, key: str) -> bytes | None:
        # A string instead of a Path: status reads tens of thousands of small records, and pathlib
        # would double the time.
        try:
            return read_regular(f"{self.url}/{key}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise StoreError(f"{self.url}/{key} is {error.strerror}") from error
            raise _unreadable(f"{self.url}/{key}", error) from error

    def get_each(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        for key in keys:
            try:
                yield self.get(key)
            except StoreError:
                yield None

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def put(self, key: str, data: Any) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as handle:
                handle.write(memoryview(data).cast("B"))
                handle.flush()
                os.fsync(handle.fileno())
            _set_folder_aside(path)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    def put_new(self, key: str, data: bytes) -> bool:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        partial.write_bytes(data)
        try:
            os.link(partial, path)  # atomic: unlike a rename, it fails if the name exists
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted(e.name for e in entries if not e.name.endswith(".partial"))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link to itself is not a folder
                return []
            raise _unreadable(f"{self.url}/{folder}", error) from error

    def delete(self, key: str) -> None:
        _set_folder_aside(self.root / key)
        (self.root / key).unlink(missing_ok=True)

    def local_path(self, key: str) -> Path | None:
        return self.root / key

    def sweep(self, folder: str, *, recursive: bool = True) -> int:
        dead = time.time() - PARTIAL_SECONDS
        count = 0
        for parent, below, names in os.walk(self.root / folder):
            if not recursive:
                below.clear()
            for name in names:
                path = Path(parent, name)
                with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                    if name.endswith(".partial") and path.lstat().st_mtime < dead:
                        path.unlink()
                        count += 1
        return count

    def age(self, key: str) -> float | None:
        path = self.root / key
        now = path.with_name(f".now.{uuid.uuid4().hex}.partial")
        try:
            written = path.stat().st_mtime
            now.touch()
            return now.stat().st_mtime - written
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError):
                now.unlink()


class RemoteObjects:
    """Objects in any zarr store (fsspec, obstore): one PUT each, visible when complete."""

    def __init__(self, store: Store, url: str) -> None:
        self.zarr_store = store
        self.url = url
        # s3fs requests an object's size before it reads all of it, but not if there is an offset.
        self._part = OffsetByteRequest(0) if isinstance(store, FsspecStore) else None

    def get(self, key: str) -> bytes | None:
        value = self._answer(self.zarr_store.get(key, default_buffer_prototype(), self._part))
        return None if value is None else value.to_bytes()

    def get_each(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        async def answers(some: Sequence[str]) -> list[Any]:
            prototype = default_buffer_prototype()
            requests = (self.zarr_store.get(key, prototype, self._part) for key in some)
            return await asyncio.gather(*requests, return_exceptions=True)

        for start in range(0, len(keys), REQUESTS):
            for value in sync(answers(keys[start : start + REQUESTS])):
                yield value.to_bytes() if hasattr(value, "to_bytes") else None

    def exists(self, key: str) -> bool:
        return self._answer(self.zarr_store.exists(key))

    def put(self, key: str, data: Any) -> None:
        if self.zarr_store.read_only:
            raise StoreError(
                f"{self.url} cannot be written; copy it into a folder (unpack an archive), and "
                f"name the folder"
            )
        self._answer(self.zarr_store.set(key, _buffer(data)))

    def put_new(self, key: str, data: bytes) -> bool:
        if self.exists(key):
            return False
        if not isinstance(self.zarr_store, FsspecStore):
            # Not atomic: two writers may both get a claim. A claim only saves work; checksums in
            # commit records keep the store correct.
            self.put(key, data)
            return True
        path = f"{self.zarr_store.path}/{key}"
        try:  # a conditional PUT if the driver has one (s3fs: If-None-Match)
            sync(self.zarr_store.fs._pipe_file(path, data, mode="create"))
        except Exception:  # each driver raises its own error for a lost race
            if self.exists(key):
                return False
            self.put(key, data)
        return True

    def names(self, folder: str) -> list[str]:
        async def listed() -> list[str]:
            return [name async for name in self.zarr_store.list_dir(folder)]

        return sorted(self._answer(listed()))

    def delete(self, key: str) -> None:
        self._answer(self.zarr_store.delete(key))

    def local_path(self, key: str) -> Path | None:
        return None

    def sweep(self, folder: str, *, recursive: bool = True) -> int:
        return 0  # an unfinished object does not exist

    def age(self, key: str) -> float | None:
        now = f"{key}.now-{uuid.uuid4().hex}"
        try:
            self.put(now, b"now")
            written, wrote = self._written(key), self._written(now)
            self.delete(now)
        except StoreError:
            return None
        return None if written is None or wrote is None else wrote - written

    def _written(self, key: str) -> float | None:
        """Time when an object was written, in seconds; None if the driver does not report it."""
        if not isinstance(self.zarr_store, FsspecStore):
            return None
        path = f"{self.zarr_store.path}/{key}"
        self.zarr_store.fs.invalidate_cache()
        try:
            found = self._answer(self.zarr_store.fs._info(path))
        except StoreError:
            return None
        times = (found.get(name) for name in ("LastModified", "mtime", "updated", "last_modified"))
        value = next((time for time in times if time is not None), None)
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        return float(value) if isinstance(value, int | float) else None

    def _answer(self, request: Any) -> Any:
        """The store's answer; turns a driver's error into a StoreError that names the store."""
        try:
            return sync(request)
        except Exception as error:
            raise StoreError(
                f"cannot read or write {self.url} ({type(error).__name__}: {error}); check the "
                f"address, the credentials and that the bucket exists"
            ) from error


def connect(path: str | Path | Store, *, read_only: bool = False) -> Objects:
    """Objects at a folder, at a URL that fsspec understands (``s3://...``), or in a zarr store.

    ``file:///folder`` means the folder. A ``zip://`` archive is read-only.

    Raises
    ------
    StoreError
        The URL cannot be opened, for example because its protocol has no driver installed.
    """
    text = str(path)
    try:
        if isinstance(path, Store):
            sync(path._ensure_open())
            return RemoteObjects(path, text)
        text = text.replace("zip::file://", "zip://", 1)
        if text.startswith("zip::"):  # lists other names than a folder
            raise StoreError(f"cannot open {text}: copy the archive, and open zip:///FILE")
        if text.lower().startswith("zip://"):
            archive = ZipStore(_local_path(text), mode="r")
            sync(archive._ensure_open())
            return RemoteObjects(archive, text)
        if "://" not in text or text.lower().startswith("file://"):
            return LocalObjects(_local_path(text), read_only=read_only)
        return RemoteObjects(FsspecStore.from_url(text, read_only=read_only), text)
    except StoreError:
        raise
    except Exception as error:  # drivers raise errors of any kind for a URL
        raise StoreError(f"cannot open {text}: {error}") from error


def _local_path(text: str) -> Path:
    """Path of ``file:///folder``, or of a plain path.

    Raises
    ------
    StoreError
        The URL names another machine.
    """
    if "://" not in text:
        return Path(text)
    url = urlsplit(text)
    if url.netloc not in ("", "localhost"):
        raise StoreError(f"{text} names the machine {url.netloc}; write file:///FOLDER")
    return Path(url2pathname(url.path))


def _unreadable(where: str, error: OSError) -> UnreadableError:
    return UnreadableError(f"{where} cannot be read ({error.strerror or error})")


def _buffer(data: Any) -> Any:
    flat = np.frombuffer(memoryview(data).cast("B"), dtype=np.uint8)
    return default_buffer_prototype().buffer.from_array_like(flat)


def _set_folder_aside(path: Path) -> None:
    """Rename a folder that damage left in place of an object; readers ignore the new name."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial"))


def sync_folder(folder: Path) -> None:
    """Make a rename survive power loss, on platforms that can flush folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
