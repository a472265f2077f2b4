"""Gallery of hard examples: one self-contained HTML file, and one picture."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.datasets.pictures import Reader
from workbench.figures import style
from workbench.figures.html_page import page
from workbench.results.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

THUMBNAIL = 160  # pixels, longer side
ROLES = {"small": "small", "s2": "S2", "large": "large"}


@dataclass(frozen=True)
class Pictures:
    """Where the images of the two stores come from.

    Attributes
    ----------
    train, test : callable
        Store row -> RGB uint8 (row, col, 3), or None where the image cannot be shown.
    train_names, test_names : array of str
        Image ids by store row.
    """

    train: Reader
    test: Reader
    train_names: np.ndarray
    test_names: np.ndarray


_CSS = """
article { border-top: 1px solid var(--line); padding: 1rem 0; }
article { display: flex; gap: 1.5rem; flex-wrap: wrap; } article > div { min-width: 0; }
figure { margin: 0; width: 10rem; } figcaption { font-size: 12px; overflow-wrap: anywhere; }
img { max-width: 10rem; max-height: 10rem; display: block; } .none { color: var(--soft); }
.group { display: flex; gap: .5rem; flex-wrap: wrap; }
h3 { font-size: 13px; margin: 0 0 .3rem; color: var(--soft); }
table { border-collapse: collapse; font-size: 13px; } td { padding: 0 .6rem .2rem 0; }
.rare, .ambiguous { color: var(--warn); } .wrong { color: var(--warn); font-weight: 600; }
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
        body = "<p>No image that the larger model gets better and S2 does not.</p>"
    shown = (
        f"<h1>{escape(title)}</h1>\n<p>Loss drop: cross-entropy of the small model's head minus "
        f"that of the large model's, in nats.</p>\n{body}"
        + (f'\n<p class="made">{escape(made)}</p>' if made else "")
    )
    write_text(page(title, shown, _CSS), path)


@style.styled
def write_png(table: pd.DataFrame, pictures: Pictures, path: Path) -> None:
    """The first six hard examples with their easy and nearest images, one row each."""
    if not table.empty:
        _, drawing = style.save(sheet(table.head(6), pictures), path.with_suffix(""))
        drawing.unlink()  # photographs inside an SVG only make it large


@style.styled
def write_jpeg(table: pd.DataFrame, pictures: Pictures, path: Path) -> None:
    """The same figure, small enough to keep inside a notebook."""
    if not table.empty:
        style.save_pictures(sheet(table.head(6), pictures), path)


@style.styled
def sheet(table: pd.DataFrame, pictures: Pictures) -> Figure:
    """Every row's image, easy images of its class and nearest training images, one line each."""
    rows = table.to_dict("records")
    columns = 1 + max(len(r["easy"]) for r in rows) + min(3, max(len(r["nearest"]) for r in rows))
    drawn, axes = style.figure(1.7 * columns, 2.0 * len(rows), rows=len(rows), columns=columns)
    for ax in axes:
        ax.set_axis_off()
    for n, row in enumerate(rows):
        easy = [(pictures.test(i), f"easy: {row['label']}") for i in row["easy"]]
        near = zip(row["nearest"], row["nearest_labels"], strict=True)
        nearest = [(pictures.train(i), f"near: {label}") for i, label in near][:3]
        first = (pictures.test(row["row"]), f"{row['label']}{_kinds(row)}\ndrop {row['drop']:.2f}")
        for ax, (image, text) in zip(axes[n * columns :], [first, *easy, *nearest], strict=False):
            if image is not None:
                ax.imshow(_small(image))
            # Matplotlib would set text between two dollar signs as mathematics.
            ax.set_title(text.replace("$", r"\$"), fontsize=8)
    return drawn


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
    return (
        f"<article><div><h3>{escape(row['label'])}{_kinds_html(row)}</h3>{hard}"
        f"loss drop {row['drop']:.2f}</div>"
        f"<div><h3>source, loss, predictions</h3><table>{tops}</table></div>"
        f'<div><h3>easy, same class</h3><div class="group">{easy}</div></div>'
        f'<div><h3>nearest in training</h3><div class="group">{near}</div></div></article>'
    )


def _top(predictions: list[tuple[str, float]], label: str) -> str:
    parts = []
    for n, (name, probability) in enumerate(predictions):
        wrong = ' class="wrong"' if n == 0 and name != label else ""
        parts.append(f"<span{wrong}>{escape(name)} {probability:.2f}</span>")
    return ", ".join(parts)


def _kinds(row: dict) -> str:
    return "".join(f", {kind}" for kind in ("rare", "ambiguous") if row[kind])


def _kinds_html(row: dict) -> str:
    kinds = [k for k in ("rare", "ambiguous") if row[k]]
    return "".join(f' <span class="{k}">{k}</span>' for k in kinds)


def _figure(image: np.ndarray | None, caption: str) -> str:
    shown = '<div class="none">not readable</div>' if image is None else _thumbnail(image)
    return f"<figure>{shown}<figcaption>{escape(str(caption))}</figcaption></figure>"


def _thumbnail(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    _small(image).save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'


def _small(image: np.ndarray) -> Image.Image:
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small
