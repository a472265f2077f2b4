"""``zip:FILE``: images of a zip archive, by its central directory."""

from __future__ import annotations

import stat
import zipfile

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.listings import Listing
from workbench.datasets.archives.location import Archive
from workbench.datasets.archives.members import DEFLATED, STORED, clean_name, image_name, open_one
from workbench.datasets.archives.tar import readable
from workbench.datasets.base import Dataset

_ENCRYPTED = 1


def open_zip(name: DatasetName, beside: str | None = None) -> Dataset:
    """Images of an archive in the order of their bytes; ids and classes are those of ``tar:``.

    Members are stored or deflated, and each has a checksum, which is compared when it is read.
    Encrypted members and other compressions are counted in ``skipped``.

    Raises
    ------
    InputError
        Missing, damaged or truncated archive, no image in it, a name twice or one that is not valid
        UTF-8.
    """
    return open_one(name, scan, beside)


def scan(archive: Archive) -> Listing:
    """The images of an archive, by its directory alone."""
    found = Listing()
    try:
        with readable(archive) as handle, zipfile.ZipFile(handle) as opened:
            entries = sorted(opened.infolist(), key=lambda entry: entry.header_offset)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise InputError(
            f"{archive.path} is not a zip archive, is damaged or is truncated ({error}); copy it "
            "again"
        ) from None
    for entry in entries:
        if entry.is_dir():
            continue
        if kind := _unreadable(entry):
            found.skipped[kind] += 1
        elif image_id := image_name(clean_name(entry.filename, archive.path), found.skipped):
            found.ids.append(image_id)
            facts = (entry.compress_size, entry.file_size, entry.compress_type, entry.CRC)
            found.places.append((entry.header_offset, *facts))  # type: ignore[union-attr]
    return found


def _unreadable(entry: zipfile.ZipInfo) -> str:
    """Why a member is not looked at; empty for one that is."""
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "link"
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted"
    return "" if entry.compress_type in (STORED, DEFLATED) else "of another compression"
