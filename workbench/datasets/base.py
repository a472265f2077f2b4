"""Datasets: ordered image ids, labels, and a way to read one image.

A :class:`Dataset` holds no pixels. Its readers are small picklable callables keyed by image id, so
that worker processes can be handed the dataset and open the images themselves.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.decode import DecodeError, Decoding, decode

if TYPE_CHECKING:
    from PIL import Image

UNLABELLED = -1
TEST_FRACTION = 0.25  # of the images of each class, or of the photographs; a choice, not a source


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images in a fixed order, with ids that survive a move to another disk or machine."""

    name: str
    """The name that :func:`workbench.datasets.open` was given."""
    image_ids: list[str]
    """Unique, in dataset order."""
    labels: np.ndarray
    """int32, dims (image,); index into ``label_names``, -1 = unlabelled."""
    label_names: list[str]
    """Name of each class; empty for an unlabelled dataset."""
    reader: Callable[[str], bytes | Image.Image]
    """Image id -> encoded bytes or an opened image."""
    decoding: Decoding = field(default_factory=Decoding)
    """How bytes become pixels."""
    file_of: Callable[[str], str | None] | None = None
    """Image id -> path of its file; None for a dataset without a file per image."""
    state_of: Callable[[str], list[int] | None] | None = None
    """Image id -> [bytes, modification time in ns] of the archive that contains it, when it was
    listed; None for a dataset that is not an archive."""
    mask_reader: Callable[[str], np.ndarray] | None = None
    """Image id -> integer class map, dims (row, col), -1 = ignored pixel."""
    depth_reader: Callable[[str], np.ndarray] | None = None
    """Image id -> float32 depth map, dims (row, col); NaN = unknown pixel."""
    mask_names: list[str] | None = None
    """Name of each mask class, where known."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Kind of file to the number of files beside the images that are not read."""

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.image_ids):
            raise ValueError(f"{len(self.labels)} labels for {len(self.image_ids)} images")
        if len(set(self.image_ids)) != len(self.image_ids):
            twice = Counter(self.image_ids).most_common(1)[0][0]
            raise InputError(
                f"image id {twice!r} occurs more than once in {self.name}; ids must be unique"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, row: int) -> bytes | Image.Image:
        """Encoded bytes (or an opened image) of the image in that row.

        Raises
        ------
        DecodeError
            The file is gone, may not be read, or cannot be decoded by the library that reads it.
        """
        try:
            return self.reader(self.image_ids[row])
        except OSError as error:
            raise DecodeError(f"cannot read: {error.strerror or error}") from error
        except (DecodeError, InputError):
            raise
        # Readers of other libraries decode themselves, and damaged files make them raise anything.
        except Exception as error:
            raise DecodeError(f"cannot read: {type(error).__name__}: {error}") from error

    def file(self, row: int) -> list[int] | None:
        """[bytes, modification time in ns] of the file of the image in that row; None without.

        The file of an image in an archive is the archive.
        """
        if self.state_of is not None:
            return self.state_of(self.image_ids[row])
        path = self.file_of(self.image_ids[row]) if self.file_of is not None else None
        try:
            found = os.stat(path) if path is not None else None
        except OSError:
            return None
        return [found.st_size, found.st_mtime_ns] if found else None

    def image(self, row: int) -> np.ndarray:
        """Decoded pixels of the image in that row: RGB, uint8, dims (row, col, 3)."""
        return decode(self.read(row), self.decoding)

    def mask(self, row: int) -> np.ndarray:
        """Class map of the image in that row: int32, dims (row, col), -1 = ignored."""
        if self.mask_reader is None:
            raise InputError(f"{self.name} has no masks; {_DENSE_REMEDY}")
        return self.mask_reader(self.image_ids[row])

    def depth(self, row: int) -> np.ndarray:
        """Depth map of the image in that row: float32, dims (row, col), NaN = unknown."""
        if self.depth_reader is None:
            raise InputError(f"{self.name} has no depth; {_DENSE_REMEDY}")
        return self.depth_reader(self.image_ids[row])

    def places(self) -> dict[str, int]:
        """Image id -> its row."""
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    def ordered_as(self, image_ids: Iterable[str], path: str) -> Dataset:
        """The dataset with the images of a store at that path, in its order.

        Raises
        ------
        InputError
            It no longer holds one of them.
        """
        place = self.places()
        try:
            return self.rows([place[image_id] for image_id in map(str, image_ids)])
        except KeyError as error:
            raise InputError(
                f"{self.name} no longer holds {error.args[0]}, which is in {path}; make a new "
                f"store of it"
            ) from error

    def rows(self, rows: Sequence[int]) -> Dataset:
        """The same dataset restricted to these rows, in the order given."""
        picked = [self.image_ids[row] for row in rows]
        return replace(self, image_ids=picked, labels=self.labels[list(rows)])

    def take(self, limit: int | None) -> Dataset:
        """The first ``limit`` images (all of them for ``None``)."""
        if limit is None:
            return self
        if limit < 1:
            raise InputError(f"limit is {limit}; give a positive number of images")
        return self.rows(range(min(limit, len(self))))


_DENSE_REMEDY = (
    "use bundled:scenes (or, for depth, bundled:stereo), or csv:FILE with a mask or depth column"
)


def hash_key(text: str) -> int:
    """A number in [0, 2**64) that depends on the text only: the same on every machine and day."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def balanced_order(groups: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """(group, id) pairs ordered so that every prefix holds each group in its fair share.

    Within a group ids follow their hash; the k-th of n ids sits at position (k + 1/2) / n and the
    groups are merged by position. A prefix of N of M images then holds N * n / M images of each
    group, give or take one.

    Examples
    --------
    >>> [g for g, _ in balanced_order({"a": ["1", "2", "3", "4"], "b": ["5", "6"]})]
    ['a', 'b', 'a', 'a', 'b', 'a']
    """
    placed = []
    for group, ids in groups.items():
        ranked = sorted(ids, key=lambda i: (hash_key(i), i))
        placed += [((k + 0.5) / len(ranked), group, i) for k, i in enumerate(ranked)]
    return [(group, i) for _, group, i in sorted(placed)]


def hash_split(ids: Sequence[str], split: str | None) -> list[str]:
    """The ids of one side of the fixed split: the quarter with the smallest hashes is the test.

    Parameters
    ----------
    ids : sequence of str
        One stratum: the images of a class, or the photographs of a collection.
    split : {"train", "test", None}
        ``None`` keeps everything.
    """
    ranked = sorted(ids, key=lambda i: (hash_key(i), i))
    n_test = round(len(ranked) * TEST_FRACTION)
    if split is None:
        return ranked
    return ranked[:n_test] if split == "test" else ranked[n_test:]


def bundled_split(name: DatasetName) -> str | None:
    """The side of the fixed split that a bundled dataset's name asks for; None for everything."""
    if name.split not in ("", "train", "test"):
        whole = f"bundled:{name.name}"
        raise InputError(
            f"no split {name.split!r} of {whole}; use {whole}, {whole}:train or {whole}:test"
        )
    return name.split or None
