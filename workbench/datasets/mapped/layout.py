"""Splits of published layouts, and checks of the contents of their maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from feature_store.errors import InputError, some
from workbench.datasets.base import UNLABELLED
from workbench.datasets.folder import FileReader
from workbench.datasets.table import MapReader, depth_map

REFUSED = -2
"""Class of a number that does not stand for one."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The images of a split and how they and their maps are read."""

    image_ids: list[str]
    """In order; where images are files, their paths below the root."""
    reader: Callable
    """Reader of :class:`~workbench.datasets.base.Dataset`."""
    masks: Callable[[str], np.ndarray] | None = None
    """Image id to its mask."""
    names: list[str] | None = None
    """Names of the mask's classes."""
    depths: Callable[[str], np.ndarray] | None = None
    """Image id to metres."""
    without: int = 0
    """Listed images that are left out, as they have no map."""


@dataclass(frozen=True)
class Classes:
    """Numbers in a mask's file to classes: int32, -1 = ignored; other numbers are refused."""

    data: str
    """Name of the dataset in messages."""
    known: Mapping[int, int] = field(repr=False)
    """Number to class."""
    ignored: frozenset[int] = frozenset()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        table = np.full(max(*self.known, *self.ignored, 0) + 2, REFUSED, np.int32)
        for number in self.ignored:
            table[number] = UNLABELLED
        for number, place in self.known.items():
            table[number] = place
        found = table[np.minimum(values.astype(np.int64), len(table) - 1)]
        if (found == REFUSED).any():
            wrong = some([*map(str, np.unique(values[found == REFUSED]).tolist())])
            ignored = some([*map(str, sorted(self.ignored))])
            raise InputError(
                f"it holds {wrong}; {self.data} has {min(self.known)} to {max(self.known)} and "
                f"ignores {ignored}; take the annotations that the dataset is published with"
            )
        return found


@dataclass(frozen=True)
class Metres:
    """Numbers in a depth file to metres: float32, NaN where they are zero or not finite."""

    data: str
    """Name of the dataset in messages."""
    per_metre: float
    """Units of the file per metre."""
    least: float
    """Least metres that the largest depth of a map may have."""
    most: float
    """Most metres that it may have."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        metres = depth_map(values) / np.float32(self.per_metre)
        largest = float(np.nanmax(metres, initial=-np.inf))
        if largest != -np.inf and not self.least <= largest <= self.most:
            raise InputError(
                f"its largest value is {largest * self.per_metre:g}, which would be {largest:g} m; "
                f"{self.data} stores {self.per_metre:g} per metre, and its depths end between "
                f"{self.least:g} and {self.most:g} m; check the unit of the files"
            )
        return metres


def require_split(split: str, known: Iterable[str], data: str) -> None:
    """Refuse a split that a dataset does not have."""
    if split not in known:
        raise InputError(f"no split {split!r} of {data}; choose {', '.join(known)}")


def files_below(root: Path, folder: str, ending: str, layout: str) -> list[str]:
    """Files of a folder and its subfolders, in order of their POSIX paths below the root.

    Raises
    ------
    InputError
        There are none; the message shows the layout that is expected.
    """
    found = sorted(
        path.relative_to(root).as_posix() for path in (root / folder).rglob(f"*{ending}")
    )
    if not found:
        raise InputError(
            f"no {ending} files below {root / folder}; expected the layout {layout} there"
        )
    return found


def require_maps(root: Path, maps: Mapping[str, str]) -> None:
    """Refuse images without their map."""
    lacking = [path for path in maps.values() if not (root / path).is_file()]
    if lacking:
        raise InputError(
            f"{len(lacking)} of {len(maps)} maps are missing below {root}, such as {lacking[0]}; "
            f"unpack the annotations there"
        )


def of_files(
    root: Path,
    maps: Mapping[str, str],
    clean: Classes | Metres,
    names: list[str] | None = None,
    without: int = 0,
) -> Split:
    """A split whose images and maps are files.

    Parameters
    ----------
    maps : mapping of str to str
        Path of each image to that of its map, both below the root.
    names : list of str, optional
        Names of the classes.
    without : int
        Listed images that were left out.
    """
    require_maps(root, maps)
    reader = MapReader(str(root), dict(maps), clean)
    depth = isinstance(clean, Metres)
    return Split(
        image_ids=list(maps),
        reader=FileReader(str(root)),
        masks=None if depth else reader,
        names=names,
        depths=reader if depth else None,
        without=without,
    )
