"""Datasets of the library ``datasets``: ``hf:NAME:SPLIT`` of the hub, ``hfdisk:DIR`` of a disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.location import Archive, located
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.folder import read_image_file
from workbench.datasets.optional import library

STATE = "state.json"
"""Written anew whenever a dataset is saved."""


@dataclass(frozen=True)
class RowReader:
    """Image id, which is the row number -> encoded bytes in the row's image column."""

    rows: Any = field(repr=False)
    column: str
    saved: Archive | None = None
    """What changes with a dataset that was saved to disk; None for one of the hub."""

    def __call__(self, image_id: str) -> bytes:
        if self.saved:
            self.saved.require_unchanged()
        cell = self.rows[int(image_id)][self.column]
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
    label = next((c for c, k in kinds.items() if k == "ClassLabel"), None)
    reader = RowReader(rows.cast_column(image, hub.Image(decode=False)), image, saved)
    return Dataset(
        name=str(name),
        image_ids=[f"{n:08d}" for n in range(len(rows))],
        labels=_labels(rows, label),
        label_names=list(rows.features[label].names) if label else [],
        reader=reader,
        state_of=reader.state if saved else None,
    )


def _labels(rows: Any, column: str | None) -> np.ndarray:
    if column is None:
        return np.full(len(rows), UNLABELLED, np.int32)
    values = [UNLABELLED if v is None else v for v in rows[column]]
    return np.array(values, np.int32)
