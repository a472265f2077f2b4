"""``csv:FILE``: a table with the column ``path`` and, if wanted, ``label``, ``mask``, ``depth``."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.decode import DecodeError, Decoding, open_within
from workbench.datasets.folder import FileReader, read_image_file
from workbench.datasets.table_rows import numbered_labels, read_rows


@dataclass(frozen=True)
class MapReader:
    """Map from a ``.npy`` file or an image file, in which palette indices are kept.

    A map may have fewer or more pixels than its image, but not another shape: it would lie askew.
    """

    root: str
    paths: dict[str, str] = field(repr=False)
    clean: Callable[[np.ndarray], np.ndarray]

    def __call__(self, image_id: str) -> np.ndarray:
        path = self.paths[image_id]
        try:
            values = self.clean(_pixels(self.root, path))
            _refuse_another_shape(values.shape, Path(self.root, image_id))
        except InputError as error:
            raise InputError(f"the map {path!r} cannot be right: {error}") from error
        return values


def _refuse_another_shape(shape: tuple[int, ...], image: Path) -> None:
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            turned = opened.getexif().get(Base.Orientation, 1) > 4
    except OSError:  # the extraction reports such an image
        return
    of_image = [(height, width), (width, height)] if turned else [(height, width)]
    # A pixel of the map may have been rounded away.
    if all(abs(shape[0] * w - shape[1] * h) > max(h, w) for h, w in of_image):
        raise InputError(
            f"it has {shape[1]} x {shape[0]} pixels, its image {width} x {height}; expected the "
            f"same shape"
        )


def class_map(values: np.ndarray) -> np.ndarray:
    """int32 classes; 255 is ignored."""
    values = values.astype(np.int32)
    return np.where(values == 255, UNLABELLED, values)


def depth_map(values: np.ndarray) -> np.ndarray:
    """float32; zero and non-finite are unknown, NaN."""
    values = values.astype(np.float32)
    return np.where(np.isfinite(values) & (values > 0), values, np.float32("nan"))


def open_csv(name: DatasetName) -> Dataset:
    """Images listed in a table, in the table's order.

    The first line names the columns, in any case. ``path`` is relative to the table's folder (or
    absolute) and, without ``./`` and doubled slashes, is the image id; ``mask`` and ``depth`` are
    paths like it. ``label`` is any text, with white space around it removed; an empty cell is
    unlabelled. Classes are numbered in numeric order if all labels are whole numbers, else
    alphabetically. Rows that repeat a path are one image.

    Raises
    ------
    InputError
        Missing file, no ``path`` column, a column named twice, no row, a row with more or fewer
        cells than columns, a line break in a cell, an empty path, none of the images there, a label
        such as NaN or None, two spellings of one number, or rows of one image that differ.
    """
    table = Path(name.path).expanduser()
    if not table.exists():
        raise InputError(f"no table {name.path!r} (looked in {Path.cwd()}); write csv:FILE")
    if table.is_dir():
        raise InputError(f"{name.path!r} is a folder; write folder:{name.path} or name a CSV file")
    rows = read_rows(table)
    _check_paths(table, rows)
    label_names, labels = numbered_labels(table, [row.get("label", "") for row in rows])
    ids = [row["path"] for row in rows]
    root = str(table.parent)
    reader = FileReader(root)
    masks = {row["path"]: row["mask"] for row in rows if row.get("mask")}
    depths = {row["path"]: row["depth"] for row in rows if row.get("depth")}
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=labels,
        label_names=label_names,
        reader=reader,
        file_of=reader.path,
        mask_reader=MapReader(root, masks, class_map) if len(masks) == len(ids) else None,
        depth_reader=MapReader(root, depths, depth_map) if len(depths) == len(ids) else None,
    )


def _check_paths(table: Path, rows: list[dict[str, str]]) -> None:
    # One missing file is a decode failure of one row; a wrong base folder is a wrong request.
    first = [row["path"] for row in rows[:100]]
    if not any((table.parent / path).exists() for path in first):
        raise InputError(
            f"{str(table)!r}: none of its first {len(first)} images exist, such as {first[0]!r}; "
            f"paths are taken relative to {str(table.parent.resolve())!r}"
        )


def _pixels(root: str, path: str) -> np.ndarray:
    """A single-channel map from ``.npy`` or an image file (palette indices are kept)."""
    try:
        data = read_image_file(Path(root, path))
        if path.endswith(".npy"):
            values = np.load(io.BytesIO(data), allow_pickle=False)
        else:
            values = np.array(open_within(data, Decoding()))
    except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
        raise DecodeError(f"cannot read the map {path!r}: {error}") from error
    if values.ndim != 2:
        raise DecodeError(f"the map {path!r} has shape {values.shape}; expected (row, col)")
    return values
