"""A written table in a notebook: its frames, and its page as the cell's output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from feature_store.errors import InputError
from workbench.tables.records.check import records
from workbench.tables.render import html, view


@dataclass(frozen=True)
class LoadedTable:
    """One table of a folder; a notebook shows it with directions, cost columns and footnotes."""

    content: dict[str, Any]
    """Content of the table's JSON, provenance included."""
    folder: Path
    """Folder of the table and its pictures."""

    @property
    def shown(self) -> pd.DataFrame:
        """As readers see it: two header rows, text with intervals."""
        return view.shown(self.content)

    @property
    def numbers(self) -> pd.DataFrame:
        """One line per number at full precision, as in the CSV."""
        return view.tidy(self.content)

    def __repr__(self) -> str:
        """Title and size."""
        return f"<Table {view.heading(self.content)}: {len(self.content['rows'])} rows>"

    def _repr_html_(self) -> str:
        return html.section(self.content, self.content["blocks"], self.folder)


def load(out: str | Path, key: str) -> LoadedTable:
    """Read a table that ``workbench tables --out OUT`` has written.

    Its key is as ``--only`` takes it: ``"5"``, ``"figure6"``, ``"sovit2"``.

    Raises
    ------
    InputError
        No such table there; the message names the tables that are.
    """
    found = records(Path(out))
    if key not in found:
        there = ", ".join(found) or "no tables"
        raise InputError(f"{out} does not hold table {key!r}; it holds {there}")
    return LoadedTable(found[key], Path(out))
