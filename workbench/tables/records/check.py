"""Which tables of a folder no longer follow from their stores, or mix what does not belong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench import code_hash
from workbench.results import strict_json
from workbench.tables.records import content, freshness, provenance
from workbench.tables.render.extra_tables import code_of
from workbench.tables.specs import tables as known


def records(out: Path) -> dict[str, dict]:
    """Key → content of every table in a folder, in the order of the papers.

    Raises
    ------
    InputError
        A file that cannot be read as JSON.
    """
    found = {}
    for path in sorted(out.glob("*.json")):
        if path.name == "provenance.json":
            continue
        table = strict_json.read(path)
        if isinstance(table, dict) and "digest" in table and "key" in table:
            found[table["key"]] = table
    order = list(known())
    return {key: found[key] for key in sorted(found, key=[*order, *found].index)}


def check(out: Path) -> list[dict[str, Any]]:
    """One record per table: ``state`` (current, stale, mixed) and the reasons.

    A table is stale if a store holds other images, labels or features than it was made of, if the
    analyses or their data have changed since, if the code behind its extra tables (such as cost
    columns) has changed, if one of its files is gone or was changed by hand, or if its figure draws
    a table that is not current or was written anew. It is mixed if its own numbers come from
    different features or code, or if the folder holds tables of several profiles.

    Raises
    ------
    InputError
        No tables there, or a record that is not whole.
    """
    found = records(out)
    if not found:
        raise InputError(f"{out} holds no tables; make them with `workbench tables --out {out}`")
    for key, table in found.items():
        if lost := {"measurements", "files", "blocks"} - set(table):
            raise InputError(
                f"{content.stem(out, key)}.json is not a whole table (no {min(lost)}); delete it "
                f"and run again"
            )
    maps = functools.cache(freshness.maps_of)
    profiles = sorted({str(table.get("profile")) for table in found.values()})
    own = {key: _own(table, out, maps, profiles) for key, table in found.items()}
    return [_finding(key, found, own) for key in found]


def _own(
    table: Mapping[str, Any], out: Path, maps: Callable[[str, str, int], str], profiles: list[str]
) -> tuple[list[str], list[str]]:
    """How a table by itself is mixed, and how it is stale."""
    stale = freshness.stale(table["measurements"], out, maps)
    if table.get("blocks_code_sha256", "") != code_of(block["name"] for block in table["blocks"]):
        titles = ", ".join(block["title"] for block in table["blocks"])
        stale.append(f"the code behind “{titles}” has changed")
    stale += content.differences(table, out)
    made = [m["code"]["code_sha256"] for m in table["measurements"].values()]
    if any(by != code_hash.measuring_sha256() for by in made):
        stale.append("measured by older analysis code; run again")
    mixed = provenance.mixed(table["measurements"])
    if len(profiles) > 1:
        mixed.append(
            f"is of the profile {table.get('profile')} in a folder with tables of "
            f"{' and '.join(profiles)}; move one profile's tables out"
        )
    return mixed, stale


def _finding(key: str, tables: Mapping[str, dict], own: Mapping[str, tuple]) -> dict[str, Any]:
    """A table's record, with what it inherits from the tables that its figure draws."""
    mixed, stale = map(list, own[key])
    for used, digest in tables[key].get("uses", {}).items():
        if used not in tables:
            stale.append(f"table {used}, which it draws, is gone")
        elif tables[used]["digest"] != digest:
            stale.append(f"table {used}, which it draws, was written anew")
        elif (state := _finding(used, tables, own)["state"]) != "current":
            stale.append(f"table {used}, which it draws, is {state}")
    return {
        "table": key,
        "state": "mixed" if mixed else "stale" if stale else "current",
        "reasons": mixed + stale,
    }
