"""One self-contained page with every table and figure of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from workbench.figures.html_page import page
from workbench.results.files import write_text
from workbench.tables.records import provenance
from workbench.tables.render import html

_PROFILE = {
    "bundled": (
        "Profile bundled: small real models {images} stand in for the paper's. Numbers under "
        "“here” are measured, and are not the paper's quantities; only directions between rows can "
        "be compared with the paper."
    ),
    "paper": "Profile paper: the paper's models{images}. Footnotes name every deviation.",
}


def write(
    tables: Mapping[str, dict], findings: Mapping[str, dict], out: Path, profile: str
) -> Path:
    """Write report.html; tables that are stale or mixed are named and left out.

    `tables` maps keys to contents, as written beside the report in `out`, and `findings` to what
    :func:`workbench.tables.records.check.check` says of them.
    """
    good = {key: t for key, t in tables.items() if findings[key]["state"] == "current"}
    bad = [finding for key, finding in findings.items() if key not in good]
    papers = list(dict.fromkeys(table["paper"] for table in good.values()))
    contents = "".join(
        f"<p>{escape(paper)}</p><ul>"
        + "".join(_entry(k, t) for k, t in good.items() if t["paper"] == paper)
        + "</ul>"
        for paper in papers
    )
    warnings = "".join(
        f'<p class="warn">Table {escape(f["table"])} is {escape(f["state"])} and left out: '
        f"{escape('; '.join(f['reasons']))}</p>"
        for f in bad
    )
    sections = "\n".join(
        f"<section>{html.section(table, table['blocks'], out)}{_made(table)}</section>"
        for table in good.values()
    )
    body = (
        "<h1>When do we not need larger vision models? Tables regenerated</h1>\n"
        f"<p>{escape(described(profile, good))}</p>\n{warnings}<nav>{contents}</nav>\n{sections}"
    )
    path = out / "report.html"
    write_text(page(f"Tables, profile {profile}", body, html.CSS), path)
    return path


def described(profile: str, tables: Mapping[str, dict]) -> str:
    """Describe the profile, with the images that the config of these tables named."""
    named = ", ".join(dict.fromkeys(name for t in tables.values() for name in t.get("named", ())))
    images = {
        "bundled": f"that come as packages, and images that the config names ({named}), as each "
        "table says," if named else "and images that come as packages",
        "paper": f" on images that the config names ({named})" if named else "",
    }  # fmt: skip
    return _PROFILE[profile].format(images=images[profile]) if profile in _PROFILE else ""


def _entry(key: str, table: dict) -> str:
    words = f"{table['reference'].partition(',')[0]}: {table['title']}"
    words = escape(words[:1].upper() + words[1:])
    return f'<li><a href="#t-{escape(key, quote=True)}">{words}</a></li>'


def _made(table: dict) -> str:
    """One line of provenance; the JSON beside the table has it all."""
    text = escape(provenance.made(table))
    held = provenance.stores(table).values()
    identities = sorted({f"{source} {mark[:10]}" for h in held for source, mark in h.items()})
    if not identities:
        return f'<div class="made">{text}</div>'
    features = escape(f"features: {', '.join(identities)}")
    return f'<div class="made"><details><summary>{text}</summary>{features}</details></div>'
