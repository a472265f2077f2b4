"""Whole objects by key: commit records, claims and shard files are read and written only here.

A zarr hierarchy is a set of objects under keys. zarr itself reads and creates arrays and groups.
This module writes the objects whose durability and order matter (shards, commit records, claims):
on a local disk to a temporary name that is flushed and renamed, on an object store by one PUT.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Any, Protocol

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from feature_store.errors import StoreError

PARTIAL_SECONDS = 3600.0
"""Age in seconds after which a temporary file is taken for one of a killed process."""


class Objects(Protocol):
    """Keys to bytes; keys are POSIX paths relative to the root of the store."""

    zarr_store: Store
    url: str

    def get(self, key: str) -> bytes | None:
        """The object's bytes, or None if it does not exist."""

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

    def sweep(self, folder: str) -> int:
        """Remove the remains of killed writes under a folder; returns the number of files."""


class LocalObjects:
    """Objects as files under a folder; a file either is complete or does not exist."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root
        self.url = str(root)
        self.zarr_store: Store = LocalStore(root, read_only=read_only)

    def get(self, key: str) -> bytes | None:
        # A plain string and no buffer: status reads tens of thousands of small records, and pathlib
        # would double the time.
        try:
            with open(f"{self.url}/{key}", "rb", buffering=0) as handle:
                return handle.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

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
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def put_new(self, key: str, data: bytes) -> bool:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        partial.write_bytes(data)
        try:
            os.link(partial, path)  # unlike rename, fails if the name exists: the claim is atomic
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

    def delete(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def local_path(self, key: str) -> Path | None:
        return self.root / key

    def sweep(self, folder: str) -> int:
        dead = time.time() - PARTIAL_SECONDS
        count = 0
        for parent, _, names in os.walk(self.root / folder):
            for name in names:
                path = Path(parent, name)
                with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                    if name.endswith(".partial") and path.stat().st_mtime < dead:
                        path.unlink()
                        count += 1
        return count


class RemoteObjects:
    """Objects in any zarr store (fsspec, obstore): one PUT each, visible when complete."""

    def __init__(self, store: Store, url: str) -> None:
        self.zarr_store = store
        self.url = url

    def get(self, key: str) -> bytes | None:
        value = self._answer(self.zarr_store.get(key, default_buffer_prototype()))
        return None if value is None else value.to_bytes()

    def exists(self, key: str) -> bool:
        return self._answer(self.zarr_store.exists(key))

    def put(self, key: str, data: Any) -> None:
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
        except Exception:  # each driver has its own error for a lost race
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

    def sweep(self, folder: str) -> int:
        return 0  # an unfinished object does not exist

    def _answer(self, request: Any) -> Any:
        """The store's answer; an error of its driver becomes a StoreError that names the store."""
        try:
            return sync(request)
        except Exception as error:
            raise StoreError(
                f"cannot read or write {self.url} ({type(error).__name__}: {error}); check the "
                f"address, the credentials and that the bucket exists"
            ) from error


def connect(path: str | Path | Store, *, read_only: bool = False) -> Objects:
    """Objects at a folder, at a URL that fsspec understands (``s3://...``), or in a zarr store.

    Raises
    ------
    StoreError
        The URL's protocol has no driver installed.
    """
    if isinstance(path, Store):
        return RemoteObjects(path, str(path))
    if "://" not in str(path):
        return LocalObjects(Path(path), read_only=read_only)
    try:
        return RemoteObjects(FsspecStore.from_url(str(path), read_only=read_only), str(path))
    except (ImportError, ValueError) as error:
        raise StoreError(f"cannot open {path}: {error}") from error


def _buffer(data: Any) -> Any:
    import numpy as np

    flat = np.frombuffer(memoryview(data).cast("B"), dtype=np.uint8)
    return default_buffer_prototype().buffer.from_array_like(flat)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive power loss, on platforms that can flush folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
