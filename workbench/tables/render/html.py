"""A table's section in HTML, on its own page, in the report and in a notebook."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import pandas as pd

from workbench.tables.render import films, view

CSS = """
h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1.2rem 0 .2rem; color: var(--soft); }
nav ul { columns: 20rem; column-gap: 2.2rem; padding-left: 1.1rem; margin: .5rem 0; }
nav li { margin: .1rem 0; }
.box { overflow-x: auto; max-width: 100%; margin: .5rem 0; border: 1px solid var(--line);
  width: fit-content; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
td:last-child { white-space: normal; min-width: 9rem; max-width: 26rem; }
.wordy td:last-child { min-width: 22rem; } .wordy thead th { white-space: normal; }
tbody tr:hover td { background: var(--head); }
thead th { background: var(--head); font-weight: 600; } tbody tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--page);
  border-right: 1px solid var(--line); }
thead th:first-child { background: var(--head); }
details { margin: .3rem 0 .8rem; font-size: 13px; } summary { cursor: pointer; color: var(--soft); }
.notes { font-size: 13px; color: var(--soft); max-width: 62rem; margin: .8rem 0; display: grid;
  grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; }
.notes dt { font-weight: 600; grid-column: 1; } .notes dd { grid-column: 2; margin: 0; }
.made { font-size: 12px; color: var(--soft); } .warn { color: var(--warn); font-weight: 600; }
figure { margin: .8rem 0; background: #ffffff; border: 1px solid var(--line); padding: .5rem;
  overflow-x: auto; }
figure img { display: block; max-width: 100%; height: auto; margin: auto; }
figcaption.made { color: #555555; }
@media (max-width: 40rem) { figure img { max-width: none; width: 44rem; } }
@media (max-width: 30rem) {
  th, td { white-space: normal; padding: .2rem .35rem; font-size: 12px; overflow-wrap: normal; }
  td:last-child { min-width: 5rem; } .wordy td:last-child { min-width: 12rem; } }
"""
"""Look of tables, notes and figures, in a table's own page and in the report."""


def section(table: dict, blocks: list[dict], folder: Path) -> str:
    """A section in HTML with the pictures that lie in `folder`; every text in it is escaped."""
    anchor = f"t-{escape(table['key'], quote=True)}"
    parts = [
        f'<h2 id="{anchor}">{escape(view.heading(table))}</h2>',
        f"<p>{escape(table['question'])}</p>",
    ]
    if table["rows"]:
        parts.append(_rows(table))
    if table["comparisons"]:
        parts += ["<h3>Directions</h3>", _box(view.comparisons(table))]
    for block in blocks:
        parts += [f"<h3>{escape(block['title'])}</h3>", f"<p>{escape(block['caption'])}</p>"]
        parts.append(_box(view.block_frame(block)))
    if found := view.notes(table):
        parts.append(_notes(found))
    parts += [_picture(folder / name, table["title"]) for name in pictures(table)]
    parts += [_film(folder / name) for name in films.of(table)]
    return "\n".join(parts)


def _rows(table: dict) -> str:
    """The table; its figures on training images stand behind a line to click."""
    first, training = view.on_page(view.shown(table), len(table["label"]))
    if training.shape[1] == 1:
        return _box(first)
    return (
        f"{_box(first)}\n<details><summary>On training images</summary>{_box(training)}</details>"
    )


def _notes(lines: list[str]) -> str:
    """Footnotes under the word that names their subject."""
    items = "".join(
        f"<dt>{escape(group)}</dt>" + "".join(f"<dd>{escape(text)}</dd>" for text in texts)
        for group, texts in view.grouped(lines).items()
    )
    return f'<dl class="notes">{items}</dl>'


def pictures(table: dict) -> list[str]:
    """File names of a table's pictures, one format each: drawings as SVG, photographs as PNG."""
    suffix = ".png" if table["detail"] else ".svg"
    made = films.of(table)
    return [name for name in table["pictures"] if name.endswith(suffix) and name not in made]


def _picture(path: Path, title: str) -> str:
    return f"<figure>{_image(path, title)}</figure>"


def _film(path: Path) -> str:
    """A film or gallery, with a line on what it shows."""
    text = films.caption(path.name)
    shown = f'<figcaption class="made">{escape(text)}</figcaption>'
    return f"<figure>{_image(path, text)}{shown}</figure>"


def _image(path: Path, text: str) -> str:
    kind = {"svg": "svg+xml"}.get(path.suffix[1:], path.suffix[1:])
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(text, quote=True)}" src="data:image/{kind};base64,{data}">'


def _box(frame: pd.DataFrame) -> str:
    """A table in a box that scrolls by itself."""
    wordy = len(frame) and frame.iloc[:, -1].map(lambda cell: len(str(cell)) > 40).any()
    body = frame.to_html(
        index=False, escape=True, border=0, na_rep="", classes="wordy" if wordy else None
    )
    return f'<div class="box" tabindex="0">{body}</div>'
