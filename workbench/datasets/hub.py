"""Datasets of the library ``datasets``: ``hf:NAME:SPLIT`` of the hub, ``hfdisk:DIR`` of a disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.label_column import class_name, names_classes
from workbench.datasets.archives.location import Archive, located
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.folder import read_image_file
from workbench.datasets.optional import library
from workbench.datasets.table_rows import numbered_labels

STATE = "state.json"
"""Written anew whenever a dataset is saved."""


@dataclass(frozen=True)
class RowReader:
    """Image id, which is the row number -> encoded bytes in the row's image column."""

    rows: Any = field(repr=False)
    column: str
    saved: Archive | None = None
    """Archive of a dataset saved to disk, which may change; None for a dataset of the hub."""

    def __call__(self, image_id: str) -> bytes:
        if self.saved is None:
            cell = self.rows[int(image_id)][self.column]
        else:  # from the Arrow table: a row of the library takes longer than reading a file
            self.saved.require_unchanged()
            cell = self.rows.data.column(self.column)[int(image_id)].as_py()
        if cell is None:
            raise DecodeError("no image in this row")
        if cell["bytes"] is not None:
            return cell["bytes"]
        return read_image_file(Path(cell["path"]))

    def state(self, image_id: str) -> list[int] | None:
        """[bytes, modification time in ns] of the saved dataset's state when it was opened."""
        return self.saved.state if self.saved else None


def open_hub(name: DatasetName) -> Dataset:
    """A split of a hub dataset: its first image column, and its first class-label column if any.

    Raises
    ------
    InputError
        The library is missing, the dataset cannot be loaded, or it has no image column.
    """
    hub = library("datasets", str(name))
    try:
        rows = hub.load_dataset(name.name, split=name.split)
    # The library raises its own and its network client's errors, without a common base class.
    except Exception as error:
        raise _cannot_load(name, error) from None
    return _dataset(name, hub, rows, None)


def open_saved(name: DatasetName) -> Dataset:
    """A dataset that ``save_to_disk`` wrote, read without a network; ids are row numbers.

    Classes are those of the first ClassLabel, or else the texts or numbers of the column ``label``.

    Raises
    ------
    InputError
        As :func:`open_hub`; also several splits in the folder (one is a folder below it).
    """
    folder = os.path.expanduser(name.path)
    if os.path.exists(os.path.join(folder, "dataset_dict.json")):
        splits = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        raise InputError(f"{name} holds the splits {', '.join(splits)}; name one: {name}/SPLIT")
    (saved,) = located([os.path.join(folder, STATE)], str(name))
    hub = library("datasets", str(name))
    try:
        rows = hub.load_from_disk(folder)
    except Exception as error:  # as above; a truncated file is pyarrow's error
        raise _cannot_load(name, error) from None
    return _dataset(name, hub, rows, saved)


def _cannot_load(name: DatasetName, error: Exception) -> InputError:
    line = " ".join(str(error).split())[:200]
    return InputError(f"cannot load {name}: {type(error).__name__}: {line}")


def _dataset(name: DatasetName, hub: Any, rows: Any, saved: Archive | None) -> Dataset:
    kinds = {column: type(kind).__name__ for column, kind in rows.features.items()}
    image = next((c for c, k in kinds.items() if k == "Image"), None)
    if image is None:
        raise InputError(f"{name} has no image column; its columns are {kinds}")
    label_names, labels = _labels(name, rows, kinds, saved is not None)
    reader = RowReader(rows.cast_column(image, hub.Image(decode=False)), image, saved)
    return Dataset(
        name=str(name),
        image_ids=[f"{n:08d}" for n in range(len(rows))],
        labels=labels,
        label_names=label_names,
        reader=reader,
        state_of=reader.state if saved else None,
    )


def _labels(
    name: DatasetName, rows: Any, kinds: dict[str, str], saved: bool
) -> tuple[list[str], np.ndarray]:
    """Class names, and (image,) int32."""
    label = next((c for c, k in kinds.items() if k == "ClassLabel"), None)
    if label is not None:
        codes = [UNLABELLED if v is None else v for v in rows[label][:]]
        return list(rows.features[label].names), np.array(codes, np.int32)
    if saved and "label" in kinds and names_classes(rows.data.schema.field("label").type):
        names = [class_name(value, []) for value in rows.data.column("label").to_pylist()]
        return numbered_labels(name.path, names)
    return [], np.full(len(rows), UNLABELLED, np.int32)
