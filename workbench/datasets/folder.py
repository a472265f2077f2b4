"""``folder:DIR``: every image below a directory, labelled by its first folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from feature_store.regular_file import read_regular
from workbench.datasets.base import UNLABELLED, Dataset

EXTENSIONS = {
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
}  # fmt: skip
FILE_BYTES = 1 << 30
"""Largest file that is read as an image: twice the largest image, at 16 bits per channel."""


@dataclass(frozen=True)
class FileReader:
    """Reads the file whose POSIX path below ``root`` is the image id."""

    root: str

    def __call__(self, image_id: str) -> bytes:
        return read_image_file(Path(self.root, image_id))


def read_image_file(path: Path) -> bytes:
    """The bytes of an image; pipes, sockets, devices and files without end are refused."""
    return read_regular(path, FILE_BYTES)


def open_folder(name: DatasetName) -> Dataset:
    """Images below a directory, in the sorted order of their POSIX paths.

    An image in a subfolder has the name of the first folder on its path as its class; an image
    directly in the directory is unlabelled, and so is a dataset without subfolders. Extensions are
    compared without case, hidden files and folders (leading dot) are skipped, links are followed.
    The sorted order puts classes one after the other: a prefix of it is not a fair sample.

    Raises
    ------
    InputError
        Missing directory, a file in its place, no image below it, or a file name that is not
        valid Unicode.
    """
    root = Path(name.path).expanduser()
    if not root.exists():
        raise InputError(f"no folder {name.path!r} (looked in {Path.cwd()}); check the path")
    if not root.is_dir():
        raise InputError(
            f"{name.path!r} is a file, not a folder; write folder:DIR with the folder that holds "
            "the images, or csv:FILE for a table of paths"
        )
    ids = sorted(_images_below(str(root)))
    if not ids:
        raise InputError(
            f"folder {name.path!r} holds no image; expected files below it that end in "
            f"{' '.join(sorted(EXTENSIONS))}"
        )
    classes = [i.split("/", 1)[0] if "/" in i else None for i in ids]
    label_names = sorted({c for c in classes if c is not None})
    number = {c: n for n, c in enumerate(label_names)}
    labels = np.array([UNLABELLED if c is None else number[c] for c in classes], np.int32)
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=labels,
        label_names=label_names,
        reader=FileReader(str(root)),
    )


def _images_below(root: str, below: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """POSIX paths of the image files; ``above``: real paths that a link may not re-enter."""
    here = os.path.join(root, below)
    real = os.path.realpath(here)
    if real in above:
        return
    try:
        entries = list(os.scandir(here))
    except OSError as error:
        raise InputError(f"cannot list {here!r}: {error.strerror}; check its permissions") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir():
            yield from _images_below(root, path, above | {real})
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS and _opens(entry):
            yield _checked(path)


def _opens(entry: os.DirEntry[str]) -> bool:
    """Not a pipe, socket or device, which could keep a reader waiting for ever."""
    return entry.is_file() or not os.path.exists(entry.path)  # a dangling link becomes a failed row


def _checked(path: str) -> str:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "backslashreplace").decode()
        raise InputError(
            f"file name {shown} is not valid UTF-8 and cannot be an image id; rename it"
        ) from None
    return path
