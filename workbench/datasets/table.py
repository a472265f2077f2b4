"""``csv:FILE``: a table with the column ``path`` and, if wanted, ``label``, ``mask``, ``depth``."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.folder import FileReader

COLUMNS = ("path", "label", "mask", "depth")


@dataclass(frozen=True)
class MaskReader:
    """Integer class map from an image file (grey value or palette index; 255 = ignored)."""

    root: str
    paths: dict[str, str] = field(repr=False)

    def __call__(self, image_id: str) -> np.ndarray:
        values = _pixels(self.root, self.paths[image_id]).astype(np.int32)
        return np.where(values == 255, UNLABELLED, values)


@dataclass(frozen=True)
class DepthReader:
    """Depth map from a ``.npy`` file or a greyscale image; zero and non-finite are unknown."""

    root: str
    paths: dict[str, str] = field(repr=False)

    def __call__(self, image_id: str) -> np.ndarray:
        values = _pixels(self.root, self.paths[image_id]).astype(np.float32)
        return np.where(np.isfinite(values) & (values > 0), values, np.float32("nan"))


def open_csv(name: DatasetName) -> Dataset:
    """Images listed in a table, in the table's order.

    The first line names the columns. ``path`` is relative to the table's folder (or absolute) and
    is the image id. ``label`` is any text; an empty cell is unlabelled; classes are numbered in
    numeric order when all labels are integers, else alphabetically. ``mask`` and ``depth`` are
    paths like ``path``.

    Raises
    ------
    InputError
        Missing file, no ``path`` column, no row, an empty path, or none of the images there.
    """
    table = Path(name.path).expanduser()
    if not table.exists():
        raise InputError(f"no table {name.path!r} (looked in {Path.cwd()}); write csv:FILE")
    if table.is_dir():
        raise InputError(f"{name.path!r} is a folder; write folder:{name.path} or name a CSV file")
    rows = _rows(table)
    ids = [row["path"].replace("\\", "/") for row in rows]
    _check_paths(table, ids)
    label_names, labels = _labels([row.get("label") or "" for row in rows])
    root = str(table.parent)
    masks = {i: row["mask"] for i, row in zip(ids, rows, strict=True) if row.get("mask")}
    depths = {i: row["depth"] for i, row in zip(ids, rows, strict=True) if row.get("depth")}
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=labels,
        label_names=label_names,
        reader=FileReader(root),
        mask_reader=MaskReader(root, masks) if len(masks) == len(ids) else None,
        depth_reader=DepthReader(root, depths) if len(depths) == len(ids) else None,
    )


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, skipinitialspace=True)
            columns = [(c or "").strip() for c in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {str(table)!r} as a UTF-8 table: {error}") from None
    if "path" not in columns:
        raise InputError(
            f"{str(table)!r} has the columns {columns}; its first line must name a column 'path' "
            f"(known columns: {', '.join(COLUMNS)})"
        )
    if not rows:
        raise InputError(f"{str(table)!r} lists no image; add one line per image")
    return rows


def _check_paths(table: Path, ids: list[str]) -> None:
    empty = next((n for n, i in enumerate(ids) if not i), None)
    if empty is not None:
        raise InputError(f"{str(table)!r}: row {empty + 1} has no path")
    # One missing file is a decode failure of one row; a wrong base folder is a wrong request.
    if not any((table.parent / i).exists() for i in ids[:100]):
        raise InputError(
            f"{str(table)!r}: none of its first {len(ids[:100])} images exist, such as {ids[0]!r}; "
            f"paths are taken relative to {str(table.parent.resolve())!r}"
        )


def _labels(texts: list[str]) -> tuple[list[str], np.ndarray]:
    distinct = {t for t in texts if t}
    try:
        names = sorted(distinct, key=int)
    except ValueError:
        names = sorted(distinct)
    number = {t: n for n, t in enumerate(names)}
    return names, np.array([number.get(t, UNLABELLED) for t in texts], np.int32)


def _pixels(root: str, path: str) -> np.ndarray:
    """A single-channel map from ``.npy`` or an image file (palette indices are kept)."""
    from PIL import Image

    file = Path(root, path)
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            with Image.open(file) as opened:
                values = np.array(opened)
    except (OSError, ValueError) as error:
        raise DecodeError(f"cannot read the map {path!r}: {error}") from error
    if values.ndim != 2:
        raise DecodeError(f"the map {path!r} has shape {values.shape}; expected (row, col)")
    return values
