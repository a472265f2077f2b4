"""Gallery of hard examples as one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.figures.gallery import MARKS, ROLES, Pictures, thumbnail
from workbench.figures.html_page import page
from workbench.results.files import write_text

_CSS = """
body { max-width: none; }
article { border-top: 1px solid var(--line); padding: 1rem 0; display: grid; gap: .3rem 1.5rem;
  grid-template-columns: 11rem minmax(15rem, 1fr) minmax(10rem, 1.2fr) minmax(16rem, 2.6fr); }
@media (max-width: 60rem) { article { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 30rem) { article { grid-template-columns: minmax(0, 1fr); } }
figure { margin: 0; } figcaption { font-size: 12px; overflow-wrap: anywhere; color: var(--soft); }
img { width: 100%; max-height: 16rem; object-fit: contain; object-position: left; display: block; }
.none { color: var(--soft); }
.group { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
h3 { font-size: 13px; margin: 0 0 .3rem; color: var(--soft); }
table { border-collapse: collapse; font-size: 13px; }
td { padding: 0 .6rem .3rem 0; vertical-align: top; overflow-wrap: break-word; }
.rare, .ambiguous { color: var(--warn); }
.wrong { color: var(--warn); font-weight: 600; } .right { color: var(--mark); font-weight: 600; }
"""


def write_html(
    table: pd.DataFrame, pictures: Pictures, path: Path, title: str, made: str = ""
) -> None:
    """Write the table of :func:`analyses.hard_examples.compute` as a page without outside links.

    Every label and file name is escaped: they come from folder and file names. `made` says at its
    end where the page comes from.
    """
    body = "\n".join(_article(row, pictures) for row in table.to_dict("records"))
    if table.empty:
        body = "<p>No image on which the larger model loses less and S2 does not.</p>"
    shown = (
        f"<h1>{escape(title)}</h1>\n<p>Loss drop: cross-entropy of the small model's head minus "
        f"that of the large model's, in nats.</p>\n{body}"
        + (f'\n<p class="made">{escape(made)}</p>' if made else "")
    )
    write_text(page(title, shown, _CSS), path)


def _article(row: dict, pictures: Pictures) -> str:
    hard = _figure(pictures.test(row["row"]), row["image_id"])
    easy = "".join(_figure(pictures.test(i), pictures.test_names[i]) for i in row["easy"])
    near = "".join(
        _figure(pictures.train(i), f"{label}: {pictures.train_names[i]}")
        for i, label in zip(row["nearest"], row["nearest_labels"], strict=True)
    )
    tops = "".join(
        f"<tr><td>{name}<td>{row[f'{role}_loss']:.2f}<td>{_top(row[f'{role}_top'], row['label'])}"
        for role, name in ROLES.items()
    )
    tops += "".join(
        f"<tr><td>{escape(name)}<td>{loss:.2f}<td>{_top(best, row['label'])}"
        for name, loss, best in row["others"]
    )
    kinds = "".join(f' <span class="{k}">{k}</span>' for k in ("rare", "ambiguous") if row[k])
    return (
        f"<article><div><h3>{escape(row['label'])}{kinds}</h3>{hard}"
        f"loss drop {row['drop']:.2f}</div>"
        f"<div><h3>source, loss, predictions</h3><table>{tops}</table></div>"
        f'<div><h3>easy, same class</h3><div class="group">{easy}</div></div>'
        f'<div><h3>nearest in training</h3><div class="group">{near}</div></div></article>'
    )


def _top(predictions: list[tuple[str, float]], label: str) -> str:
    """The likeliest classes; the first is what the source predicts, marked right or wrong."""
    (first, probability), *others = predictions
    kind = "right" if first == label else "wrong"
    marked = f"{MARKS[kind]} {escape(first)} {probability:.2f}"
    rest = "".join(f", {escape(name)} {probability:.2f}" for name, probability in others)
    return f'<span class="{kind}">{marked}</span>{rest}'


def _figure(image: np.ndarray | None, caption: str) -> str:
    shown = '<div class="none">not readable</div>' if image is None else _img(image)
    return f"<figure>{shown}<figcaption>{escape(str(caption))}</figcaption></figure>"


def _img(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    thumbnail(image).save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
