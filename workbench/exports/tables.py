"""Exports as tables: Parquet, and a dataset that the library ``datasets`` loads from disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datasets.optional import library
from workbench.exports.content import Exported

ROWS = 4096
"""Rows written together, at most."""


def write_parquet(content: Exported, path: Path) -> None:
    """One row per image, or without pooling per token.

    Columns: ``image_id``, ``label`` (class name, null = unlabelled), without pooling ``row`` and
    ``col``, and ``features``, a list of fixed length. :meth:`Exported.about` is in the file's
    metadata under ``about``.
    """
    pyarrow = library("pyarrow", "an export to parquet")
    parquet = library("pyarrow.parquet", "an export to parquet")
    names = np.array([*content.store.label_names, None], dtype=object)  # the last is for -1
    schema = _schema(pyarrow, content, pyarrow.string())
    schema = schema.with_metadata({b"about": content.about_text().encode()})
    with parquet.ParquetWriter(path, schema) as writer:
        for columns in _columns(pyarrow, content):
            columns["label"] = pyarrow.array(names[columns["label"]].tolist(), pyarrow.string())
            writer.write_table(pyarrow.table(columns, schema=schema))


def write_saved(content: Exported, path: Path) -> None:
    """A folder for ``datasets.load_from_disk``, with the columns of :func:`write_parquet`.

    ``label`` is a ClassLabel by name, and :meth:`Exported.about` is the dataset's description.
    """
    datasets = library("datasets", "an export to hf")
    pyarrow = library("pyarrow", "an export to hf")
    path.mkdir()
    schema = _schema(pyarrow, content, pyarrow.int64())
    features = datasets.Features.from_arrow_schema(schema)
    names = content.store.label_names
    if names:
        features["label"] = datasets.ClassLabel(names=names)
    known = json.dumps({"info": {"features": features.to_dict()}}).encode()
    schema = schema.with_metadata({b"huggingface": known})
    stream = path / "stream.arrow"
    with pyarrow.OSFile(str(stream), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for columns in _columns(pyarrow, content):
            columns["label"] = pyarrow.array(columns["label"], pyarrow.int64())
            writer.write_table(pyarrow.table(columns, schema=schema))
    about = datasets.DatasetInfo(description=content.about_text(), features=features)
    datasets.disable_progress_bars()
    datasets.Dataset.from_file(str(stream), info=about).save_to_disk(str(path / "saved"))
    stream.unlink()
    for entry in (path / "saved").iterdir():
        shutil.move(entry, path / entry.name)
    (path / "saved").rmdir()


def _schema(pyarrow: Any, content: Exported, label: Any) -> Any:
    value = pyarrow.from_numpy_dtype(content.dtype)
    fields = [("image_id", pyarrow.string()), ("label", label)]
    if content.pooling == "none":
        fields += [("row", pyarrow.int32()), ("col", pyarrow.int32())]
    return pyarrow.schema([*fields, ("features", pyarrow.list_(value, content.shape[-1]))])


def _columns(pyarrow: Any, content: Exported) -> Iterator[dict[str, Any]]:
    """Columns of some rows at a time; ``label`` as numbers."""
    ids, labels = np.array(content.image_ids), content.labels
    positions, cols = content.positions(), content.about()["grid"][1]
    start = 0
    for block in content.blocks():
        part = slice(start, start := start + len(block))
        flat = block.reshape(-1, block.shape[-1])
        tokens = len(flat) // len(block)
        image = np.repeat(np.arange(part.start, part.stop), tokens)
        place = np.tile(np.arange(tokens), len(block))
        if positions is not None:
            place = positions[part].ravel()
        for first in range(0, len(flat), ROWS):
            some = slice(first, first + ROWS)
            values = pyarrow.array(flat[some].ravel())
            columns = {"image_id": ids[image[some]], "label": labels[image[some]]}
            if content.pooling == "none":
                columns |= {"row": place[some] // cols, "col": place[some] % cols}
            lists = pyarrow.FixedSizeListArray.from_arrays(values, block.shape[-1])
            yield columns | {"features": lists}
