"""The members of archives that are images, read at their places."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.listings import Listing, list_members
from workbench.datasets.archives.location import Archive, located
from workbench.datasets.archives.ranges import read_range
from workbench.datasets.base import Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.folder import FILE_BYTES, folder_labels
from workbench.datasets.formats import extensions

RAW, STORED, DEFLATED = -1, 0, 8
"""How a member is kept: its bytes as they are, or behind a header of zip, by zip's numbers."""


@dataclass(frozen=True)
class MemberReader:
    """Image id -> bytes of the member."""

    archives: tuple[Archive, ...]
    places: np.ndarray = field(repr=False)
    """int64, dims (image, 6): the archive's number, then as in :class:`Listing`."""
    rows: dict[str, int] = field(repr=False)

    def __call__(self, image_id: str) -> bytes:
        number, offset, count, size, kept, crc = self.places[self.rows[image_id]].tolist()
        archive = self.archives[number]
        if max(count, size) > FILE_BYTES:
            raise DecodeError(f"{max(count, size)} bytes, expected at most {FILE_BYTES}")
        if kept != RAW:
            offset += _header_bytes(read_range(archive, offset, 30))
        data = read_range(archive, offset, count)
        return data if kept == RAW else _unpacked(data, size, kept, crc)

    def state(self, image_id: str) -> list[int]:
        """[bytes, modification time in ns] of the image's archive when it was listed."""
        return self.archives[self.places[self.rows[image_id], 0]].state


def reader_of(
    archives: Sequence[Archive], listings: Sequence[Listing], what: str
) -> tuple[list[str], MemberReader]:
    """All image ids in archive order, and their reader.

    Raises
    ------
    InputError
        Two members have one id.
    """
    rows: dict[str, int] = {}
    ids: list[str] = []
    owner: list[int] = []
    for number, listing in enumerate(listings):
        for image_id in listing.ids:
            if rows.setdefault(image_id, len(ids)) != len(ids):
                first = archives[owner[rows[image_id]]].path
                raise InputError(
                    f"{what}: the id {image_id!r} occurs in {first} and in "
                    f"{archives[number].path}; ids must be unique: rename one member, or give "
                    f"each archive a store of its own"
                )
            ids.append(image_id)
            owner.append(number)
    parts = [np.asarray(listing.places, np.int64).reshape(-1, 5) for listing in listings]
    places = np.concatenate([np.array(owner, np.int64)[:, None], np.concatenate(parts)], axis=1)
    return ids, MemberReader(tuple(archives), places, rows)


def open_one(name: DatasetName, scan: Callable[[Archive], Listing], beside: str | None) -> Dataset:
    """Images of one archive, as :func:`in_folders`."""
    archives = located([name.path], str(name))
    (listing,) = listings = list_members(name.kind, archives, scan, beside)
    ids, reader = reader_of(archives, listings, str(name))
    return in_folders(str(name), ids, reader, listing.skipped)


def in_folders(what: str, ids: list[str], reader: Any, skipped: Counter[str]) -> Dataset:
    """Images whose ids are paths; the first folder on each is its class."""
    if not ids:
        raise no_images(what, skipped)
    label_names, labels = folder_labels(ids)
    return Dataset(
        name=what,
        image_ids=ids,
        labels=labels,
        label_names=label_names,
        reader=reader,
        state_of=reader.state,
        skipped=dict(skipped),
    )


def image_name(name: str, skipped: Counter[str]) -> str | None:
    """A member's cleaned path; None, and counted, if it is not an image."""
    extension = PurePosixPath(name).suffix.lower()
    if any(part.startswith(".") for part in name.split("/")):
        skipped["hidden"] += 1
    elif extension not in extensions():
        skipped[extension or "without extension"] += 1
    else:
        return name
    return None


def clean_name(path: str, where: str) -> str:
    """A member's path without ``./``, doubled and leading slashes.

    Raises
    ------
    InputError
        It is not valid UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "backslashreplace").decode()
        raise InputError(
            f"{where}: the name {shown} is not valid UTF-8 and cannot be an image id; rename it"
        ) from None
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def no_images(what: str, skipped: Counter[str]) -> InputError:
    """Error for archives without images."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common())
    return InputError(
        f"{what} holds no image; expected members that end in {' '.join(sorted(extensions()))}"
        + (f"; skipped: {kinds}" if kinds else "")
    )


def _header_bytes(header: bytes) -> int:
    """Length of a zip member's header: 30 bytes, its name and its extra field."""
    if header[:4] != b"PK\3\4":
        raise DecodeError("the archive holds no member at the place that its directory names")
    return 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _unpacked(data: bytes, size: int, kept: int, crc: int) -> bytes:
    if kept == DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size or 1)
        except zlib.error as error:
            raise DecodeError(f"damaged in the archive: {error}") from None
    if len(data) != size or zlib.crc32(data) != crc:
        raise DecodeError("damaged in the archive: its checksum is wrong")
    return data
