"""The panels of pictures of token maps: a photograph, and maps beside or over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from workbench.figures import style
from workbench.pictures.maps import Maps

PANEL = 2.2
"""Inches of a panel's side."""
WIDE = 5
"""Panels in a line."""
Extent = tuple[float, float, float, float]
"""Left, right, bottom and top of a picture, in units of its axes."""
MEDIUM = 0.65
"""Grey of an ordinary photograph after :func:`grey`."""
CLEAR, OPAQUE = 0.1, 0.85
"""Opacity of the least and the most remarkable values of a map over the greyscale photograph."""
OUTLINE = "#ff7f0e"


def new_panels(count: int, *, bar: bool = False) -> tuple[Figure, list[Axes]]:
    """Axes without frames; the caller is :func:`workbench.figures.style.styled`."""
    columns = min(count, WIDE)
    lines = -(-count // columns)
    size = (PANEL * columns + (0.9 if bar else 0), (PANEL + 0.4) * lines)
    figure, axes = style.figure(*size, rows=lines, columns=columns)
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
    figure, axes = new_panels(1 + len(values), bar=True)
    extent = draw_photograph(axes[0], maps, image, source)
    for ax, shown, title in zip(axes[1:], values, titles, strict=True):
        lay_over(ax, None if isinstance(picture, str) else picture, shown, colours, limits, extent)
        set_title(ax, title)
    draw_bar(figure, axes, label, colours, limits)
    return figure


def lay_over(
    ax: Axes,
    picture: np.ndarray | None,
    values: np.ndarray,
    colours: str,
    limits: tuple[float, float],
    extent: Extent,
) -> None:
    """The photograph in grey and the map over it, clear where its values are unremarkable."""
    if picture is not None:
        ax.imshow(grey(picture), cmap="gray", vmin=0, vmax=255)
    shown = seen_through(colours)
    ax.imshow(values, cmap=shown, vmin=limits[0], vmax=limits[1], extent=extent)


def draw_bar(
    figure: Figure,
    axes: Sequence[Axes],
    label: str,
    colours: str,
    limits: tuple[float, float],
    **options: Any,
) -> None:
    """The bar of a map that lies over photographs: its colours over a medium grey."""
    rgba = seen_through(colours)(np.linspace(0, 1, 256))
    over_grey = rgba[:, :3] * rgba[:, 3:] + MEDIUM * (1 - rgba[:, 3:])
    shown = mpl.colors.ListedColormap(over_grey)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(*limits), shown)
    bar = figure.colorbar(scale, ax=axes, shrink=0.8, **options)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=8)


def seen_through(colours: str) -> mpl.colors.Colormap:
    """A colour map that is clear at its neutral end: the middle of PRGn, the start of others."""
    found = mpl.colormaps[colours](np.linspace(0, 1, 256))
    at = np.linspace(-1, 1, 256) if colours.startswith("PRGn") else np.linspace(0, 1, 256)
    found[:, 3] = CLEAR + (OPAQUE - CLEAR) * np.abs(at)
    return mpl.colors.ListedColormap(found)


def set_title(ax: Axes, text: str) -> None:
    """Matplotlib would set text between two dollar signs as mathematics."""
    printable = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    ax.set_title(printable, fontsize=8, parse_math=False)


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


def grey(picture: np.ndarray) -> np.ndarray:
    """Greyscale, lifted so that dark places do not hide the map over them: (row, col), 0 to 255."""
    return picture.mean(-1) * 0.75 + 60
