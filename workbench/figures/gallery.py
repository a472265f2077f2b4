"""Gallery of hard examples: each with its predictions, easy images and nearest training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from workbench.datasets.pictures import Reader
from workbench.figures import style
from workbench.figures.panels import set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THUMBNAIL = 200
"""Pixels, longer side."""
ROLES = {"small": "small", "s2": "S2", "large": "large"}
MARKS = {"right": "✓", "wrong": "✗"}
NEAREST = 3
"""Training images in a line of the figure; the page has all."""


@dataclass(frozen=True)
class Pictures:
    """Images of the two stores, RGB uint8 (row, col, 3) or None, and their ids, by store row."""

    train: Reader
    test: Reader
    train_names: np.ndarray
    test_names: np.ndarray


@style.styled
def sheet(table: pd.DataFrame, pictures: Pictures) -> Figure:
    """One line per hard example: image, predictions, easy images of its class, nearest images.

    The table has rows of :func:`analyses.hard_examples.compute`, at least one.
    """
    rows = table.to_dict("records")
    easy = max(len(row["easy"]) for row in rows)
    nearest = min(NEAREST, max(len(row["nearest"]) for row in rows))
    columns = 2 + easy + nearest
    drawn, axes = style.figure(1.75 * columns, 1.95 * len(rows), rows=len(rows), columns=columns)
    for ax in axes:
        ax.set_axis_off()
    for n, row in enumerate(rows):
        hard, said, *others = axes[n * columns : (n + 1) * columns]
        _show(hard, pictures.test(row["row"]), f"{row['label']}{kinds(row)}")
        _predictions(said, row)
        for ax, at in zip(others, row["easy"], strict=False):
            _show(ax, pictures.test(at), f"easy: {row['label']}")
        near = zip(row["nearest"], row["nearest_labels"], strict=True)
        for ax, (at, label) in zip(others[easy:], near, strict=False):
            _show(ax, pictures.train(at), f"near: {label}")
    return drawn


def kinds(row: dict[str, Any]) -> str:
    """The kinds of a hard example, as the end of its title."""
    return "".join(f", {kind}" for kind in ("rare", "ambiguous") if row[kind])


def thumbnail(image: np.ndarray) -> Image.Image:
    """The image, its longer side :data:`THUMBNAIL` pixels at most."""
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def _show(ax: Axes, image: np.ndarray | None, title: str) -> None:
    if image is not None:
        ax.imshow(thumbnail(image))
    set_title(ax, title if len(title) <= 26 else title[:25] + "…")


def _predictions(ax: Axes, row: dict[str, Any]) -> None:
    """The prediction of each source; wrong and right are marked by sign and weight."""
    ax.text(0, 1, f"loss drop {row['drop']:.2f}", va="top", fontsize=8, transform=ax.transAxes)
    for n, (role, name) in enumerate(ROLES.items(), 1):
        predicted, probability = row[f"{role}_top"][0]
        kind = "right" if predicted == row["label"] else "wrong"
        ax.text(
            0, 1 - 0.24 * n, f"{MARKS[kind]} {name}: {probability:.2f}\n   {predicted}"[:40],
            va="top", fontsize=8, transform=ax.transAxes, parse_math=False,
            weight="bold" if kind == "wrong" else "normal",
        )  # fmt: skip
