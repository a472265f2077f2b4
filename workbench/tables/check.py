"""Which tables of a folder no longer follow from their stores, or mix what does not belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.tables import provenance, results
from workbench.tables.specs import tables as known


def records(out: Path) -> dict[str, dict]:
    """Key → content of every table in a folder, in the order of the papers."""
    found = {}
    for path in sorted(out.glob("*.json")):
        if path.name == "provenance.json":
            continue
        table = results.read_json(path)
        if isinstance(table, dict) and "digest" in table and "key" in table:
            found[table["key"]] = table
    order = list(known())
    return {key: found[key] for key in sorted(found, key=lambda k: (k not in order, _at(order, k)))}


def _at(order: list[str], key: str) -> int:
    return order.index(key) if key in order else len(order)


def check(out: Path) -> list[dict[str, Any]]:
    """One record per table: ``state`` (current, stale, mixed) and the reasons.

    A table is stale where a store holds other images, labels or features than it was made of, or
    where one of its files is gone; mixed where its own numbers come from different features or
    code. ``older_code`` says that the analyses have changed since, which alone is no fault.

    Raises
    ------
    InputError
        No tables there.
    """
    found = records(out)
    if not found:
        raise InputError(f"{out} holds no tables; make them with `workbench tables --out {out}`")
    return [_check(key, table, out) for key, table in found.items()]


def _check(key: str, table: dict, out: Path) -> dict[str, Any]:
    mixed = provenance.mixed(table["measurements"])
    stale = provenance.stale(table["measurements"])
    stale += [f"{name} is gone" for name in table["files"] if not (out / name).exists()]
    state = "mixed" if mixed else "stale" if stale else "current"
    made = [m["code"]["code_sha256"] for m in table["measurements"].values()]
    return {
        "table": key,
        "state": state,
        "reasons": mixed + stale,
        "older_code": any(code != provenance.code_sha256() for code in made),
    }
