"""Lists of the images in archives: made once, and kept beside the store of their features.

The list of an archive is known by the archive's path, size and time, and made again for another.
It lies in the folder ``STORE.archives``; without a store, or if that cannot be written, in the
user's cache (``$XDG_CACHE_HOME/s2-workbench/archives``, by default below ``~/.cache``).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from feature_store.errors import InputError, StoreError
from feature_store.objects import Objects, connect
from workbench.datasets.archives.location import THREADS, Archive
from workbench.datasets.formats import extensions
from workbench.results.messages import note

VERSION = 3
"""Version of the lists on disk."""
MEMORISED = 4096
"""Lists that a process keeps in memory: stores of a dataset's views are made one after another."""


@dataclass
class Listing:
    """Images of one archive, in archive order."""

    ids: list[str] = field(default_factory=list)
    """Image ids."""
    labels: list[str] = field(default_factory=list)
    """Class names, empty for an unlabelled image; none where paths name the classes."""
    places: list[tuple[int, ...]] | np.ndarray = field(default_factory=list)
    """int64, dims (image, 5), or a list of its rows: offset and bytes in the archive, bytes of the
    image, one of RAW, STORED and DEFLATED, and crc32 (0 for RAW)."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Kind of member to the number of members that are not images."""


def list_members(
    kind: str,
    archives: Sequence[Archive],
    scan: Callable[[Archive], Listing],
    beside: str | None,
) -> list[Listing]:
    """The list of each archive, from disk where it is there.

    Parameters
    ----------
    kind : str
        Kind of the dataset: the same archive has other images as ``tar:`` and as ``wds:``.
    scan : callable
        Lists one archive.
    beside : str, optional
        Folder or URL of a store, beside which the lists are kept.
    """
    folders, keys = _folders(beside), [_key(kind, archive) for archive in archives]
    kept = [_kept(folders, key) for key in keys]
    absent = [n for n, listing in enumerate(kept) if listing is None]
    if absent:
        first = archives[absent[0]].path
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        note(f"listing the members of {first}{more}, once; the list is kept in {folders[0].url}")

    def listed(n: int) -> Listing:
        listing = _scanned(archives[n], scan)
        _keep(folders, keys[n], _packed(listing))
        return listing

    with ThreadPoolExecutor(THREADS) as threads:
        new = dict(zip(absent, threads.map(listed, absent), strict=True))
    return [listing or new[n] for n, listing in enumerate(kept)]


@lru_cache(maxsize=MEMORISED)
def _scanned(archive: Archive, scan: Callable[[Archive], Listing]) -> Listing:
    try:
        listing = scan(archive)
    except InputError:
        raise
    except Exception as error:  # drivers of fsspec have errors of their own
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"cannot list {archive.path}: {line}") from error
    listing.places = np.array(listing.places, np.int64).reshape(-1, 5)
    return listing


def _folders(beside: str | None) -> list[Objects]:
    """Folders to search for a list; it is kept in the first one that is writable."""
    above = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = connect(Path(above, "s2-workbench", "archives"))
    if beside is None:
        return [cache]
    try:
        return [connect(f"{beside.rstrip('/')}.archives"), cache]
    except StoreError:  # a store in a zip file has no folder beside which files could lie
        return [cache]


def _key(kind: str, archive: Archive) -> str:
    path = archive.path if archive.is_remote else os.path.realpath(archive.path)
    facts = json.dumps([VERSION, kind, path, archive.size, archive.stamp, sorted(extensions())])
    return f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.npz"


def _kept(folders: Sequence[Objects], key: str) -> Listing | None:
    """The list from the first folder that has it; beside the store from now on."""
    for number, folder in enumerate(folders):
        with suppress(StoreError):  # it cannot be read
            data = folder.get(key)
            listing = None if data is None else _unpacked(data)
            if data is not None and listing is not None:
                if number:
                    _keep(folders, key, data)
                return listing
    return None


def _keep(folders: Sequence[Objects], key: str, data: bytes) -> None:
    """Write to the first folder that takes it; without any, the archive is listed each time."""
    for folder in folders:
        with suppress(OSError, StoreError):
            folder.put(key, data)
            return


def _packed(listing: Listing) -> bytes:
    text = json.dumps([listing.ids, listing.labels, listing.skipped])
    stream = io.BytesIO()
    np.savez_compressed(
        stream, text=np.frombuffer(text.encode(), np.uint8), places=np.asarray(listing.places)
    )
    return stream.getvalue()


def _unpacked(data: bytes) -> Listing | None:
    """None for a damaged list."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            ids, labels, skipped = json.loads(found["text"].tobytes())
            places = found["places"]
    except (ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
        return None
    if len(ids) != len(places) or len(labels) not in (0, len(ids)):
        return None
    return Listing(ids, labels, places, Counter(skipped))
