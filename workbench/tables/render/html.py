"""A table's section in HTML, on its own page, in the report and in a notebook."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import pandas as pd

from workbench.tables.render import view

CSS = """
h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1.2rem 0 .2rem; color: var(--soft); }
nav ul { columns: 20rem; column-gap: 2.2rem; padding-left: 1.1rem; margin: .5rem 0; }
nav li { margin: .1rem 0; }
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
figure { margin: .8rem 0; background: #ffffff; border: 1px solid var(--line); padding: .5rem;
  overflow-x: auto; }
figure img { display: block; max-width: 100%; height: auto; margin: auto; }
@media (max-width: 40rem) { figure img { max-width: none; width: 44rem; } }
@media (max-width: 30rem) {
  th, td { white-space: normal; padding: .2rem .35rem; font-size: 12px; overflow-wrap: normal; }
  td:last-child { min-width: 5rem; } .wordy td:last-child { min-width: 12rem; } }
"""
"""Look of tables, notes and figures, in a table's own page and in the report."""


def section(table: dict, blocks: list[dict], folder: Path) -> str:
    """A section in HTML with the pictures that lie in `folder`; every text in it is escaped."""
    parts = [
        f'<h2 id="{_anchor(table["key"])}">{escape(view.heading(table))}</h2>',
        f"<p>{escape(table['question'])}</p>",
    ]
    if table["rows"]:
        parts.append(_box(view.shown(table)))
    if table["comparisons"]:
        parts += ["<h3>Directions</h3>", _box(view.comparisons(table))]
    for block in blocks:
        parts += [f"<h3>{escape(block['title'])}</h3>", f"<p>{escape(block['caption'])}</p>"]
        parts.append(_box(view.block_frame(block)))
    if found := view.notes(table):
        items = "".join(f"<li>{escape(line)}</li>" for line in found)
        parts.append(f'<ol class="notes">{items}</ol>')
    parts += [_picture(folder / name, table["title"]) for name in pictures(table)]
    return "\n".join(parts)


def pictures(table: dict) -> list[str]:
    """File names of a table's pictures, one format each: drawings as SVG, photographs as PNG."""
    suffix = ".png" if table["detail"] else ".svg"
    return [name for name in table["pictures"] if name.endswith(suffix)]


def _picture(path: Path, title: str) -> str:
    kind = {"svg": "svg+xml"}.get(path.suffix[1:], path.suffix[1:])
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f"data:image/{kind};base64,{data}"
    return f'<figure><img alt="{escape(title, quote=True)}" src="{source}"></figure>'


def _anchor(key: str) -> str:
    return f"t-{escape(key, quote=True)}"


def _box(frame: pd.DataFrame) -> str:
    """A table in a box that scrolls by itself."""
    wordy = len(frame) and frame.iloc[:, -1].map(lambda cell: len(str(cell)) > 40).any()
    body = frame.to_html(
        index=False, escape=True, border=0, na_rep="", classes="wordy" if wordy else None
    )
    return f'<div class="box" tabindex="0">{body}</div>'
