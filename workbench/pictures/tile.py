"""A tile of the page: a picture, a map over it, and the outline of one token."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
from bokeh.models import ColumnDataSource, ImageRGBA, Plot, Quad, Range1d

NOTHING = np.zeros((1, 1, 4), np.uint8)
OUTLINE = "#ff7f0e"


class Tile:
    """Shows a picture, a map over it, and an outlined token.

    `name` is that of the Bokeh model in the document; `on_tap` is called with the place of a click:
    shares of the height (from the top) and of the width.
    """

    def __init__(self, name: str, on_tap: Callable[[float, float], None]) -> None:
        self.figure = Plot(
            name=name, x_range=Range1d(0, 1), y_range=Range1d(0, 1), toolbar_location=None,
            sizing_mode="scale_width", aspect_ratio=1, min_border=0, background_fill_color=None,
            border_fill_color=None, outline_line_color=None,
        )  # fmt: skip
        self._layers = [ColumnDataSource({"image": [packed(NOTHING)]}) for _ in range(2)]
        for layer in self._layers:
            self.figure.add_glyph(
                layer, ImageRGBA(image="image", x=0, y=0, dw=1, dh=1, origin="top_left")
            )
        self._box = ColumnDataSource({"left": [], "right": [], "top": [], "bottom": []})
        for colour, width in (("#000000", 4), (OUTLINE, 2)):
            outline = Quad(
                left="left", right="right", top="top", bottom="bottom", fill_color=None,
                line_color=colour, line_width=width,
            )  # fmt: skip
            self.figure.add_glyph(self._box, outline)
        self.figure.on_event("tap", lambda event: on_tap(1 - event.y, event.x))

    def show(self, rgba: np.ndarray | None) -> None:
        """Replace the picture, uint8, dims (row, col, 3 or 4); the figure takes its shape."""
        rgba = NOTHING if rgba is None else rgba
        self.figure.aspect_ratio = rgba.shape[1] / rgba.shape[0]
        self._layers[0].data = {"image": [packed(rgba)]}

    def cover(self, rgba: np.ndarray | None) -> None:
        """Replace the map over the picture."""
        self._layers[1].data = {"image": [packed(NOTHING if rgba is None else rgba)]}

    def outline(self, at: tuple[int, int], grid: tuple[int, int]) -> None:
        """Outline a token of a grid."""
        (row, col), (rows, cols) = at, grid
        self._box.data = {
            "left": [col / cols],
            "right": [(col + 1) / cols],
            "top": [1 - row / rows],
            "bottom": [1 - (row + 1) / rows],
        }


def packed(rgba: np.ndarray) -> np.ndarray:
    """uint8, dims (row, col, 3 or 4), as Bokeh takes it: uint32, dims (row, col)."""
    if rgba.shape[-1] == 3:
        opaque = np.full((*rgba.shape[:2], 1), 255, np.uint8)
        rgba = np.concatenate([rgba, opaque], axis=-1)
    return np.ascontiguousarray(rgba).view(np.uint32)[..., 0]


def coloured(
    values: np.ndarray, limits: tuple[float, float], colours: str, opacity: float = 1.0
) -> np.ndarray:
    """A map as uint8 colours, dims (row, col) to (row, col, 4); transparent where it is NaN."""
    low, high = limits
    shares = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    rgba = mpl.colormaps[colours](np.nan_to_num(shares))
    rgba[..., 3] = np.where(np.isnan(values), 0, opacity)
    return as_bytes(rgba)


def as_bytes(rgba: np.ndarray) -> np.ndarray:
    """Colours from 0 to 1 as uint8."""
    return (np.asarray(rgba) * 255).round().astype(np.uint8)
