"""What keeps a run from starting, seen from the config alone: no image is listed or read."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.tables.pipeline.profile import Profile

COLUMNS_NEEDED = {"ade20k": "mask", "nyuv2": "depth"}
"""Data key → column that its csv: table must have."""


def problems(profile: Profile, needed: Iterable[str]) -> list[str]:
    """What keeps a run from starting, one line per config key; empty when nothing does."""
    return [line for _, line in troubles(profile, needed)]


def troubles(profile: Profile, needed: Iterable[str]) -> list[tuple[str, str]]:
    """Config key and what is wrong there, as far as a dataset's name tells; nothing is listed."""
    found = []
    for data in needed:
        for split in profile.data[data].values():
            if not split.dataset:
                section, _, name = split.key.rpartition(".")
                line = f"{split.key} is not set; name a dataset as {name} in [{section}]"
                found.append((split.key, line))
            elif trouble := _trouble(split.dataset, COLUMNS_NEEDED.get(data)):
                found.append((split.key, f"{split.key} = {split.dataset!r}: {trouble}"))
    return list(dict.fromkeys(found))


def _trouble(dataset: str, column: str | None) -> str:
    """What is wrong with a dataset name, seen without listing its images."""
    try:
        name = DatasetName.parse(dataset).base
    except InputError as error:
        return str(error)
    path = Path(name.path).expanduser()
    if name.kind == "folder":
        return "" if path.is_dir() else f"there is no folder {name.path}"
    if name.kind == "csv":
        if not path.is_file():
            return f"there is no table {name.path}"
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            columns = [text.strip() for text in next(csv.reader(handle), [])]
        return "" if not column or column in columns else f"the table has no column {column!r}"
    return ""
