"""``parquet:FILES``: tables with a column of encoded images, as the Hugging Face hub has them."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.label_column import class_name, classes_and_labels, names_classes
from workbench.datasets.archives.location import Archive, expanded, located
from workbench.datasets.base import Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.optional import library

GROUPS = 2
"""Row groups whose images a process keeps: reading in order decodes each group once."""

_reading = threading.Lock()


@dataclass(frozen=True)
class Table:
    """One file."""

    archive: Archive
    starts: tuple[int, ...]
    """First row of each row group."""
    rows: int


class Columns(NamedTuple):
    """Columns to read from a file."""

    image: str
    """Column of the images."""
    label: str | None
    """Column of the classes."""
    classes: list[str]
    """Class names that the metadata list."""


@dataclass(frozen=True)
class CellReader:
    """Image id, ``FILE/ROW`` -> bytes in the row's image column."""

    tables: dict[str, Table] = field(repr=False)
    column: str

    def __call__(self, image_id: str) -> bytes:
        stem, _, number = image_id.rpartition("/")
        data, path = cell_bytes(self.tables[stem], int(number), self.column)
        if data is None:
            raise DecodeError(
                "no bytes in this row" + (f", only the path {path!r}" if path else "")
            )
        return data

    def state(self, image_id: str) -> list[int]:
        """[bytes, modification time in ns] of the image's file when it was listed."""
        return self.tables[image_id.rpartition("/")[0]].archive.state


def cell_bytes(table: Table, row: int, column: str) -> tuple[bytes | None, str | None]:
    """An encoded image of a column of bytes, or of structs with bytes and path; and its path.

    Raises
    ------
    DecodeError
        The file is not the one that was listed.
    """
    group = bisect_right(table.starts, row) - 1
    with _reading:
        cells = _group(table.archive, group, column)
    cell = cells[row - table.starts[group]].as_py()
    return (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)


def open_parquet(name: DatasetName) -> Dataset:
    """Rows of one or several local files, in order; the id of an image is ``FILE/ROW``.

    FILE is the file's name without ``.parquet``, ROW counts from 0 in 8 digits. Images are in the
    column that the Hugging Face metadata call an Image, or else in the first column of bytes, or of
    structs with bytes. Classes are the ClassLabel of the metadata by name, or else the texts
    or numbers of the column ``label``.

    Raises
    ------
    InputError
        The library or a file is missing, two files of one name, a file that is not parquet or is
        truncated, no column of images, or files with different classes.
    """
    what = str(name)
    archives = located(expanded(name.path, what), what)
    for archive in archives:
        if archive.is_remote:
            raise InputError(
                f"parquet: reads local files, and {archive.path} is a URL; download it, or name a "
                "dataset of the Hugging Face hub as hf:NAME:SPLIT"
            )
    tables: dict[str, Table] = {}
    names: list[str] = []
    columns: Columns | None = None
    for archive in archives:
        if archive.stem in tables:
            raise InputError(f"{what}: two files are named {archive.stem!r}; ids would repeat")
        found, tables[archive.stem], values = _read(archive, what)
        columns = columns or found
        if found != columns:
            raise InputError(
                f"{archive.path} has {found}, expected as in {archives[0].path}: {columns}"
            )
        names += [class_name(value, found.classes) for value in values]
    ids = [f"{stem}/{row:08d}" for stem, table in tables.items() for row in range(table.rows)]
    if not ids or columns is None:
        raise InputError(f"{what} has no row")
    label_names, labels = classes_and_labels(name.path, names, columns.classes)
    reader = CellReader(tables, columns.image)
    return Dataset(
        name=what,
        image_ids=ids,
        labels=labels,
        label_names=label_names,
        reader=reader,
        state_of=reader.state,
    )


def _read(archive: Archive, what: str) -> tuple[Columns, Table, list[Any]]:
    """Columns of a file, its row groups, and the values of its label column."""
    parquet = library("pyarrow.parquet", what)
    try:
        with parquet.ParquetFile(archive.path) as opened:
            columns = _columns(opened.schema_arrow, archive.path)
            table = _table(archive, opened.metadata)
            if columns.label is None:
                return columns, table, [None] * table.rows
            return columns, table, opened.read([columns.label])[0].to_pylist()
    except InputError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        line = " ".join(str(error).split())
        raise InputError(f"cannot read {archive.path} as parquet: {line}") from None


def read_table(archive: Archive, what: str) -> Table:
    """The row groups of a file.

    Raises
    ------
    InputError
        The library is missing, or the file is not parquet.
    """
    parquet = library("pyarrow.parquet", what)
    try:
        return _table(archive, parquet.read_metadata(archive.path))
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"cannot read {archive.path} as parquet: {line}") from None


def _table(archive: Archive, facts: Any) -> Table:
    groups = [facts.row_group(g).num_rows for g in range(facts.num_row_groups)]
    return Table(archive, tuple(accumulate(groups, initial=0))[:-1], facts.num_rows)


def _columns(schema: Any, where: str) -> Columns:
    features = _features(schema)
    kinds = {column: entry.get("_type") for column, entry in features.items()}
    image = next((c for c in schema.names if kinds.get(c) == "Image"), None)
    image = image or next((c for c in schema.names if _holds_bytes(schema.field(c).type)), None)
    if image is None:
        shown = {field.name: str(field.type) for field in schema}
        raise InputError(f"{where} has no column of encoded images; its columns are {shown}")
    label = next((c for c in schema.names if kinds.get(c) == "ClassLabel"), None)
    if label is not None:
        return Columns(image, label, [str(n) for n in features[label].get("names", [])])
    named = "label" in schema.names and names_classes(schema.field("label").type)
    return Columns(image, "label" if named else None, [])


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Column to its Hugging Face feature; empty without such metadata."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {c: f for c, f in found.items() if isinstance(f, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _holds_bytes(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return any(f.name == "bytes" and _holds_bytes(f.type) for f in kind)
    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


@lru_cache(maxsize=GROUPS)
def _group(archive: Archive, number: int, column: str) -> Any:
    """The image column of one row group.

    Raises
    ------
    DecodeError
        The file is not the one that was listed.
    """
    parquet = library("pyarrow.parquet", f"parquet:{archive.path}")
    archive.require_unchanged()
    with parquet.ParquetFile(archive.path) as opened:
        return opened.read_row_group(number, [column], use_threads=False)[0]
