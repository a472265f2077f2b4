"""The panels of pictures of token maps: a photograph, and maps beside or over it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from feature_store import Source
from workbench.pictures.maps import Maps

PANEL = 2.2
"""Inches of a panel's side."""
WIDE = 5
"""Panels in a line."""
Extent = tuple[float, float, float, float]
"""Left, right, bottom and top of a picture, in units of its axes."""
SETTINGS: Any = {
    "font.size": 9,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "svg.fonttype": "none",
    "svg.hashsalt": "s2-workbench",
}
OVERLAY = 0.65
"""Opacity of a map over the greyscale photograph."""
OUTLINE = "#ff7f0e"


class Picture(Figure):
    """A figure that shows itself in a notebook, whichever backend is set there."""

    def savefig(self, *args: Any, **options: Any) -> None:
        """As matplotlib's, in the settings that the figure was drawn in."""
        with mpl.rc_context(SETTINGS):
            super().savefig(*args, **options)

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, dpi=110)
        return written.getvalue()


def new_panels(count: int, *, bar: bool = False) -> tuple[Picture, list[Axes]]:
    columns = min(count, WIDE)
    lines = -(-count // columns)
    size = (PANEL * columns + (0.9 if bar else 0), (PANEL + 0.4) * lines)
    figure = Picture(figsize=size, layout="constrained", facecolor="white")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes:
        ax.set_axis_off()
    return figure, axes[:count]


def draw_photograph(ax: Axes, maps: Maps, image: int, source: str) -> Extent:
    """Draw the photograph, or say what is missing; its extent."""
    picture = maps.photograph(image, source)
    image_id = str(maps.image_ids[image])
    set_title(ax, f"{image_id if len(image_id) <= 30 else '…' + image_id[-29:]}\nrow {image}")
    if isinstance(picture, str):
        ax.text(
            0.5, 0.5, "no photograph:\n" + picture, transform=ax.transAxes, ha="center",
            va="center", wrap=True, fontsize=7, parse_math=False,
        )  # fmt: skip
        picture = np.full((2, 2, 3), 235, np.uint8)
    return ax.imshow(picture).get_extent()


def draw_over_photograph(
    maps: Maps,
    image: int,
    source: str,
    values: np.ndarray,
    titles: Sequence[str],
    label: str,
    colours: str,
    limits: tuple[float, float],
) -> Figure:
    """The photograph, then each map, dims (map, row, col), over its greyscale."""
    picture = maps.photograph(image, source)
    with mpl.rc_context(SETTINGS):
        figure, axes = new_panels(1 + len(values), bar=True)
        extent = draw_photograph(axes[0], maps, image, source)
        for ax, shown, title in zip(axes[1:], values, titles, strict=True):
            if not isinstance(picture, str):
                ax.imshow(grey(picture), cmap="gray", vmin=0, vmax=255)
            ax.imshow(
                shown, cmap=colours, vmin=limits[0], vmax=limits[1], alpha=OVERLAY, extent=extent
            )
            set_title(ax, title)
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(*limits), colours)
        bar = figure.colorbar(scale, ax=axes, shrink=0.8)
        bar.set_label(label.replace(" / ", "\n/ "), fontsize=7)
    return figure


def set_title(ax: Axes, text: str) -> None:
    """Matplotlib would set text between two dollar signs as mathematics."""
    printable = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    ax.set_title(printable, parse_math=False)


def outline(
    ax: Axes, at: tuple[int, int], grid: tuple[int, ...], extent: tuple[float, ...]
) -> None:
    left, right, bottom, top = extent
    width, height = (right - left) / grid[1], (bottom - top) / grid[0]
    corner = (left + at[1] * width, top + at[0] * height)
    ax.add_patch(Rectangle(corner, width, height, fill=False, ec=OUTLINE, lw=1.8))


def with_foreground(rgb: np.ndarray, foreground: tuple[float, float] | None) -> np.ndarray:
    """Colours with an alpha channel: 0 outside the range of the first component, and for NaN."""
    shown = np.isfinite(rgb).all(-1)
    if foreground is not None:
        shown &= (rgb[..., 0] >= foreground[0]) & (rgb[..., 0] <= foreground[1])
    return np.concatenate([np.nan_to_num(rgb), shown[..., None].astype(rgb.dtype)], axis=-1)


def short(source: str) -> str:
    """A source without its provider and tap: ``efficientnet_lite0 @ 224 + 448``."""
    parsed = Source.parse(source)
    return f"{parsed.model.rpartition(':')[2]} @ {' + '.join(parsed.scales)}"


def grey(picture: np.ndarray) -> np.ndarray:
    """Greyscale, lifted so that dark places do not hide the map over them: (row, col), 0 to 255."""
    return picture.mean(-1) * 0.6 + 100
