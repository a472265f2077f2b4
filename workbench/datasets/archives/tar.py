"""``tar:FILE``: images of an uncompressed tar archive, also of archives inside it."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, cast

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.listings import Listing
from workbench.datasets.archives.location import Archive, Section, opened
from workbench.datasets.archives.members import RAW, clean_name, image_name, open_one
from workbench.datasets.base import Dataset

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7z": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""How compressed files begin."""
UNENDED = "archive without an end mark"
PADDING = 1 << 20
"""Most bytes of zeros at the end of an archive: writers fill up a record, mostly of 10 kB."""


def open_tar(name: DatasetName, beside: str | None = None) -> Dataset:
    """Images of an archive in its own order; the id of an image is its path in the archive.

    An image in a folder has the name of the first folder on its path as its class, as in the
    unpacked folder. An archive inside the archive, such as ImageNet's ``n01440764.tar``, counts as
    a folder of its name without ``.tar``. Links, hidden files and all that ``folder:`` skips are
    counted in ``skipped``.

    Raises
    ------
    InputError
        Missing, compressed, damaged or truncated archive, no image in it, a name twice or one that
        is not valid UTF-8.
    """
    return open_one(name, scan, beside)


def scan(archive: Archive) -> Listing:
    """The images of an archive, by its headers alone."""
    found = Listing()
    with readable(archive) as handle:
        _scan(handle, archive.path, 0, "", found)
    return found


def readable(archive: Archive) -> BinaryIO:
    """The archive, opened.

    Raises
    ------
    InputError
        It cannot be opened.
    """
    try:
        return opened(archive)
    except OSError as error:
        raise InputError(f"cannot read {archive.path}: {error.strerror or error}") from None


def members(
    handle: BinaryIO, where: str, skipped: Counter[str]
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Regular files of a tar archive with their cleaned names; links and devices are counted.

    Raises
    ------
    InputError
        Compressed, damaged or truncated archive.
    """
    _refuse_compressed(handle, where)
    try:
        with tarfile.open(fileobj=handle, mode="r:", encoding="utf-8") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # a million of them would stay in memory
                if member.isreg() and not member.sparse:
                    yield member, clean_name(member.name, where)
                elif not member.isdir():
                    skipped[_kind(member)] += 1
            _check_end(handle, tar.offset, where, skipped)
    except tarfile.TarError as error:
        raise InputError(
            f"{where} is damaged or truncated ({error}); copy it again, or leave it out"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {where}: {error.strerror or error}") from None


def _scan(handle: BinaryIO, where: str, start: int, folder: str, found: Listing) -> None:
    for member, path in members(handle, where, found.skipped):
        place = start + member.offset_data
        is_hidden = path.rpartition("/")[2].startswith(".")
        if path.endswith(".tar") and not folder and not is_hidden:
            inside = cast(BinaryIO, Section(handle, place, member.size))
            _scan(inside, f"{where}, {path}", place, path.removesuffix(".tar") + "/", found)
        elif image_id := image_name(folder + path, found.skipped):
            found.ids.append(image_id)
            found.places.append((place, member.size, member.size, RAW, 0))  # type: ignore[union-attr]


def _refuse_compressed(handle: BinaryIO, where: str) -> None:
    head = handle.read(8)
    handle.seek(0)
    kind = next((kind for mark, kind in COMPRESSED.items() if head.startswith(mark)), None)
    if kind:
        raise InputError(f"{where} is compressed by {kind}, expected plain tar; decompress it")
    if not head:
        raise InputError(f"{where} is empty; copy it again, or leave it out")


def _check_end(handle: BinaryIO, place: int, where: str, skipped: Counter[str]) -> None:
    """Refuse an archive that ends in anything but blocks of zeros; some writers leave these out.

    Behind the zeros may be another archive, or they fill what was never copied.
    """
    handle.seek(place)
    end = handle.read(PADDING + 1)
    if not end:
        skipped[UNENDED] += 1
    elif end[: tarfile.BLOCKSIZE] != tarfile.NUL * tarfile.BLOCKSIZE:
        raise InputError(
            f"{where} is damaged or truncated at byte {place}; copy it again, or leave it out"
        )
    elif len(end) > PADDING or end.strip(tarfile.NUL):
        raise InputError(
            f"{where} continues after its end mark at byte {place}, expected at most {PADDING} "
            "bytes of zeros; copy it again, or pack archives that were joined as one"
        )


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "link"
    return "sparse file" if member.sparse else "pipe, socket or device"
