"""``folder:DIR``: every image below a directory, labelled by its first folder."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from feature_store.regular_file import read_regular
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.formats import extensions

FILE_BYTES = 1 << 30
"""Largest file that is read as an image: twice the largest image, at 16 bits per channel."""


@dataclass(frozen=True)
class FileReader:
    """Reads the file whose POSIX path below ``root`` is the image id."""

    root: str

    def __call__(self, image_id: str) -> bytes:
        return read_image_file(Path(self.root, image_id))

    def path(self, image_id: str) -> str:
        """Path of the image's file."""
        return os.path.join(self.root, image_id)


def read_image_file(path: Path) -> bytes:
    """The bytes of an image; pipes, sockets, devices and files without end are refused."""
    return read_regular(path, FILE_BYTES)


def open_folder(name: DatasetName) -> Dataset:
    """Images below a directory, in the sorted order of their POSIX paths.

    An image in a subfolder has the name of the first folder on its path as its class; an image
    directly in the directory is unlabelled, and so is a dataset without subfolders. Links are
    followed. Files without an extension of a readable format (in any case), hidden files and
    folders, pipes, sockets and devices are skipped and counted in ``skipped``.
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
    skipped: Counter[str] = Counter()
    ids = sorted(_images_below(str(root), skipped))
    if not ids:
        raise InputError(
            f"folder {name.path!r} holds no image; expected files below it that end in "
            f"{' '.join(sorted(extensions()))}"
            + (f"; skipped: {skipped_text(skipped)}" if skipped else "")
        )
    label_names, labels = folder_labels(ids)
    reader = FileReader(str(root))
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=labels,
        label_names=label_names,
        reader=reader,
        file_of=reader.path,
        skipped=dict(skipped),
    )


def first_folder(path: str) -> str:
    """The first folder on a path: the class of an image; empty without one."""
    return path.partition("/")[0] if "/" in path else ""


def folder_labels(paths: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Class names in sorted order, and (image,) int32: the class of each path, -1 without one."""
    classes = [first_folder(path) for path in paths]
    names = sorted({c for c in classes if c})
    number = {c: n for n, c in enumerate(names)}
    return names, np.array([number.get(c, UNLABELLED) for c in classes], np.int32)


def skipped_below(root: Path) -> dict[str, int]:
    """Files below a folder that are skipped, by kind; none where the folder is not at hand."""
    skipped: Counter[str] = Counter()
    if root.is_dir():
        with suppress(InputError):  # a folder that may not be listed
            deque(_images_below(str(root), skipped), maxlen=0)
    return dict(skipped)


def skipped_text(skipped: Mapping[str, int]) -> str:
    """Skipped files by kind, the most frequent first.

    Examples
    --------
    >>> skipped_text({".eps": 1, ".txt": 3})
    '3 .txt, 1 .eps'
    """
    return ", ".join(f"{count} {kind}" for kind, count in Counter(skipped).most_common())


def _images_below(
    root: str, skipped: Counter[str], below: str = "", above: frozenset[str] = frozenset()
) -> Iterator[str]:
    """POSIX paths of the image files; ``above``: real paths that a link may not re-enter."""
    here = os.path.join(root, below)
    real = os.path.realpath(here)
    if real in above:
        skipped["link to a folder above"] += 1
        return
    try:
        entries = list(os.scandir(here))
    except OSError as error:
        raise InputError(f"cannot list {here!r}: {error.strerror}; check its permissions") from None
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):
            skipped["hidden"] += 1
        elif _is_folder(entry):
            yield from _images_below(root, skipped, path, above | {real})
        elif kind := _skipped_kind(entry):
            skipped[kind] += 1
        else:
            yield _checked(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _skipped_kind(entry: os.DirEntry[str]) -> str:
    """Why a file is not an image; empty for images and for links to nothing (failed rows)."""
    extension = os.path.splitext(entry.name)[1].lower()
    if extension not in extensions():
        return extension or "without extension"
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link to nothing or to itself
        return ""
    return "" if stat.S_ISREG(mode) else "pipe, socket or device"


def _checked(path: str) -> str:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "backslashreplace").decode()
        raise InputError(
            f"file name {shown} is not valid UTF-8 and cannot be an image id; rename it"
        ) from None
    return path
