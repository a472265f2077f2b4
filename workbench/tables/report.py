"""One self-contained page with every table and figure of a folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from workbench.tables import formats, provenance

_CSS = """
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #5b6169; --line: #d5d9de;
  --page: #ffffff; --head: #f2f4f6; --mark: #1b7837; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a9b0b8; --line: #3c4249;
  --page: #17191c; --head: #22262b; --mark: #7fc98d; --warn: #f0b35e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 78rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1.2rem 0 .2rem; color: var(--soft); }
p { margin: .3rem 0 .6rem; max-width: 46rem; } a { color: var(--mark); }
nav ul { columns: 20rem; padding-left: 1.1rem; margin: .5rem 0; } nav li { margin: .1rem 0; }
.box { overflow-x: auto; max-width: 100%; margin: .5rem 0; border: 1px solid var(--line); }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
td:last-child { white-space: normal; min-width: 9rem; max-width: 26rem; }
.wordy td:last-child { min-width: 22rem; } .wordy thead th { white-space: normal; }
tbody tr:hover td { background: var(--head); }
thead th { background: var(--head); font-weight: 600; } tbody tr:last-child td { border-bottom: 0; }
.notes { font-size: 13px; color: var(--soft); padding-left: 1.4rem; max-width: 52rem; }
.made { font-size: 12px; color: var(--soft); } .warn { color: var(--warn); font-weight: 600; }
figure { margin: .8rem 0; background: #ffffff; border: 1px solid var(--line); padding: .5rem; }
figure img { display: block; max-width: 100%; height: auto; margin: auto; }
@media (max-width: 30rem) { body { font-size: 14px; padding: 1rem .7rem 3rem; }
  th, td { white-space: normal; padding: .2rem .35rem; font-size: 12px; overflow-wrap: normal; }
  td:last-child { min-width: 5rem; } .wordy td:last-child { min-width: 12rem; } }
"""
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

    Parameters
    ----------
    tables : mapping
        Key → content, as written beside the report.
    findings : mapping
        Key → what :func:`workbench.tables.check.check` says of it.
    out : Path
        Folder of tables and pictures.
    profile : str
        bundled or paper.
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
    sections = "\n".join(_section(table, out) for table in good.values())
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Tables, profile {escape(profile)}</title>\n<style>{_CSS}</style>\n</head>\n<body>"
        f"<h1>When do we not need larger vision models? Tables regenerated</h1>\n"
        f"<p>{escape(described(profile, good))}</p>\n{warnings}"
        f"<nav>{contents}</nav>\n{sections}\n</body>\n</html>\n"
    )
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def described(profile: str, tables: Mapping[str, dict]) -> str:
    """What the profile means, with the images that the config of these tables named."""
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


def _section(table: dict, out: Path) -> str:
    pictures = "".join(_picture(out / name, table["title"]) for name in _one_each(table))
    return f"<section>{formats.html(table, table['blocks'])}{pictures}{_made(table)}</section>"


def _one_each(table: dict) -> list[str]:
    """Drawings as SVG; photographs as PNG, which is smaller."""
    suffix = ".png" if table["detail"] else ".svg"
    return [name for name in table["pictures"] if name.endswith(suffix)]


def _picture(path: Path, title: str) -> str:
    kind = {"svg": "svg+xml"}.get(path.suffix[1:], path.suffix[1:])
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f"data:image/{kind};base64,{data}"
    return f'<figure><img alt="{escape(title, quote=True)}" src="{source}"></figure>'


def _made(table: dict) -> str:
    """One line of provenance; the JSON beside the table has it all."""
    text = escape(provenance.made(table))
    held = provenance.stores(table).values()
    identities = sorted({f"{source} {mark[:10]}" for h in held for source, mark in h.items()})
    if not identities:
        return f'<div class="made">{text}</div>'
    features = escape(f"features: {', '.join(identities)}")
    return f'<div class="made"><details><summary>{text}</summary>{features}</details></div>'
