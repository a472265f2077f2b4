"""``hf:NAME:SPLIT``: a Hugging Face dataset with an image column (library ``datasets``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.folder import read_image_file


@dataclass(frozen=True)
class RowReader:
    """Image id, which is the row number -> encoded bytes in the row's image column."""

    rows: Any = field(repr=False)
    column: str

    def __call__(self, image_id: str) -> bytes:
        cell = self.rows[int(image_id)][self.column]
        if cell["bytes"] is not None:
            return cell["bytes"]
        return read_image_file(Path(cell["path"]))


def open_hub(name: DatasetName) -> Dataset:
    """A split of a hub dataset: its first image column, and its first class-label column if any.

    Raises
    ------
    InputError
        The library is missing, the dataset cannot be loaded, or it has no image column.
    """
    try:
        import datasets as hub
    except ImportError:
        raise InputError(
            f"{name} needs the library 'datasets', which is not installed; pip install datasets"
        ) from None
    try:
        rows = hub.load_dataset(name.name, split=name.split)
    # The library raises its own and its network client's errors, without a common base class.
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"cannot load {name}: {type(error).__name__}: {line}") from None
    kinds = {column: type(kind).__name__ for column, kind in rows.features.items()}
    image = next((c for c, k in kinds.items() if k == "Image"), None)
    if image is None:
        raise InputError(f"{name} has no image column; its columns are {kinds}")
    label = next((c for c, k in kinds.items() if k == "ClassLabel"), None)
    return Dataset(
        name=str(name),
        image_ids=[f"{n:08d}" for n in range(len(rows))],
        labels=_labels(rows, label),
        label_names=list(rows.features[label].names) if label else [],
        reader=RowReader(rows.cast_column(image, hub.Image(decode=False)), image),
    )


def _labels(rows: Any, column: str | None) -> np.ndarray:
    if column is None:
        return np.full(len(rows), UNLABELLED, np.int32)
    values = [UNLABELLED if v is None else v for v in rows[column]]
    return np.array(values, np.int32)
