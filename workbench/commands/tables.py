"""``workbench tables``: the papers' cost columns beside the published figures."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TABLES = (5, 6, 7, 8, 9, 10, 13)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Recompute the #Params and #FLOPs columns of the S2 paper's tables beside its figures.

    Models are built without weights; every cell that differs by more than 3 percent is explained.
    The papers call multiply-accumulates FLOPs. Example:

    workbench tables --only 5 13 --columns cost --out runs/tables
    """

    only: tuple[int, ...] = TABLES
    """Tables of the S2 paper: 5, 6, 7, 8, 9, 10, 13."""
    columns: Literal["cost"] = "cost"
    """What to recompute; cost is what this version can."""
    out: Path | None = None
    """Folder for tableNN_cost.md and .csv."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from feature_store.errors import InputError
        from workbench.cost import published_cost_columns

        unknown = [number for number in self.only if number not in TABLES]
        if unknown:
            known = ", ".join(map(str, TABLES))
            raise InputError(f"table {unknown[0]} has no cost columns; choose from {known}")
        found = {}
        for number in self.only:
            table = published_cost_columns(number)
            found[str(number)] = json.loads(table.to_json(orient="records"))
            text = table.to_markdown(index=False, floatfmt=".4g")
            print(f"Table {number}\n\n{text}\n", file=sys.stderr if self.json else sys.stdout)
            if self.out is not None:
                self.out.mkdir(parents=True, exist_ok=True)
                stem = self.out / f"table{number:02d}_cost"
                stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
                table.to_csv(stem.with_suffix(".csv"), index=False)
        if self.json:
            print(json.dumps({"tables": found}))
        return 0
