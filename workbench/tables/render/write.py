"""Write tables and the overview of their folder, unless what lies there says the same already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.experiments import FILM
from feature_store import InputError
from workbench.figures.html_page import page
from workbench.results import strict_json
from workbench.results.files import write_csv, write_text
from workbench.tables.records import content, provenance
from workbench.tables.records.check import check, records
from workbench.tables.render import (
    extra_tables,
    figures,
    films,
    html,
    latex,
    markdown,
    report,
    view,
)
from workbench.tables.specs.schema import TableSpec

LAYOUT = 8
"""Raised when the written files change for the same content, so that they are written again."""


def digests(specs: Sequence[TableSpec], tables: Mapping[str, dict]) -> dict[str, str]:
    """Key → hash of what a table says, of the code behind its blocks, and of what its figure draws.

    `specs` include every table that one of them uses; `tables` maps keys to contents of
    :func:`workbench.tables.records.content.build`.
    """
    declared = {spec.key: spec for spec in specs}
    found: dict[str, str] = {}

    def of(key: str) -> str:
        if key not in found:
            spec = declared[key]
            extra = list(spec.extra_tables), extra_tables.code_of(spec.extra_tables)
            parts = [LAYOUT, _content(tables[key]), *extra, {used: of(used) for used in spec.uses}]
            found[key] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return found[key]

    return {key: of(key) for key in declared}


def current(spec: TableSpec, digest: str, out: Path) -> dict | None:
    """The record of a table that lies in the folder with this digest, its files as written.

    Raises
    ------
    InputError
        The record's path holds something else.
    """
    path = content.stem(out, spec.key).with_suffix(".json")
    if not path.exists():
        return None
    record = strict_json.read(path)
    if not isinstance(record, dict) or not {"key", "digest", "files"} <= set(record):
        raise InputError(
            f"{path} is not a table, but table {spec.key} would be written there; move it out of "
            f"this folder"
        )
    return record if record["digest"] == digest and not content.differences(record, out) else None


def write(
    spec: TableSpec, tables: Mapping[str, dict], marks: Mapping[str, str], out: Path
) -> dict[str, Any]:
    """Write a table's files; its record, as it then lies in the folder.

    `tables` maps keys to contents, of this table and of the tables that its figure draws, and
    `marks` to digests.
    """
    path = content.stem(out, spec.key)
    found = [extra_tables.block(name) for name in spec.extra_tables]
    table = tables[spec.key] | {
        "code": provenance.stamp(),
        "date": provenance.now(),
        "uses": {used: marks[used] for used in spec.uses},
    }
    drawn = [*figures.draw(spec, {**tables, spec.key: table}, path), *films.write(path)]
    table["pictures"] = [p.name for p in drawn if p.suffix in (".png", ".svg", FILM)]
    files = [*write_files(table, found, path), *drawn]
    record = strict_json.jsonable(
        table
        | {
            "blocks": found,
            "blocks_code_sha256": extra_tables.code_of(spec.extra_tables),
            "files": {p.name: content.file_sha256(p) for p in sorted(files)},
            "digest": marks[spec.key],
        }
    )
    record = content.sealed(record)
    strict_json.write(record, path.with_suffix(".json"))
    return record


def write_files(table: dict, blocks: list[dict], stem: Path) -> list[Path]:
    """Write ``stem`` as .md, .csv, .tex and .html; their paths.

    Figures follow their table in .md, .tex and .html, and a line of provenance ends them. Lines of
    the CSV name their measurement; further tables (`blocks`) have a CSV each, with no measurement
    behind it. The table's ``pictures`` lie beside `stem` already.
    """
    line = provenance.line(table)
    body = f'{html.section(table, blocks, stem.parent)}\n<p class="made">{escape(line)}</p>'
    texts = {
        ".md": f"{markdown.section(table, blocks)}\n{line}\n",
        ".tex": f"{latex.section(table, blocks)}% {line}\n",
        ".html": page(table["title"], body, html.CSS),
    }
    paths = []
    for suffix, text in texts.items():
        paths.append(stem.with_name(stem.name + suffix))
        write_text(text, paths[-1])
    if table["rows"]:
        paths.append(stem.with_name(f"{stem.name}.csv"))
        write_csv(view.tidy(table), paths[-1])
    for block in blocks:
        paths.append(stem.with_name(f"{stem.name}_{block['kind']}.csv"))
        write_csv(pd.DataFrame(block["records"], columns=block["columns"]), paths[-1])
    return paths


def _content(table: dict) -> dict:
    """Content of a table without dates and times."""
    volatile = ("code", "date", "seconds")
    plain = {k: v for k, v in table.items() if k != "measurements"}
    marks = {
        mark: {k: v for k, v in made.items() if k not in volatile}
        for mark, made in table["measurements"].items()
    }
    return {**plain, "measurements": marks}


def renew_overview(out: Path, profile: str) -> bool:
    """Write provenance.json and report.html where they do not follow from the folder's records.

    They do when provenance.json lists these records in these states and report.html is the one
    that was written with it. Returns whether they were written; a folder without tables has none.
    """
    tables = records(out)
    if not tables:
        return False
    findings = {finding["table"]: finding for finding in check(out)}
    index = strict_json.jsonable(_index(tables, findings, out, profile))
    if _in_step(index, out):
        return False
    page = report.write(tables, findings, out, profile)
    mark = content.file_sha256(page)
    made = {"date": provenance.now(), "code": provenance.stamp(), "report_sha256": mark}
    strict_json.write(index | made, out / "provenance.json")
    return True


def _index(
    tables: Mapping[str, dict], findings: Mapping[str, dict], out: Path, profile: str
) -> dict[str, Any]:
    return {
        "profile": profile,
        "layout": LAYOUT,
        "tables": {
            key: {
                "file": f"{content.stem(out, key).name}.json",
                "digest": table["digest"],
                "date": table["date"],
                "state": findings[key]["state"],
                "reasons": findings[key]["reasons"],
                "stores": provenance.stores(table),
            }
            for key, table in tables.items()
        },
    }


def _in_step(index: Mapping[str, Any], out: Path) -> bool:
    listed, page = out / "provenance.json", out / "report.html"
    if not listed.exists() or not page.exists():
        return False
    listing = strict_json.read(listed)
    same = all(listing.get(name) == value for name, value in index.items())
    return same and listing.get("report_sha256") == content.file_sha256(page)
