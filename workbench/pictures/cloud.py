"""The dataset as a scatter: one point per image, thumbnails on hover, a region as a filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from html import escape

import matplotlib as mpl
import numpy as np
from bokeh.document import Document
from bokeh.models import Column, ColumnDataSource, Div, HoverTool, Row, Select
from bokeh.plotting import figure

from analyses.statistics.embedding import methods
from workbench.pictures.events import changed
from workbench.pictures.later import Later
from workbench.pictures.overlays import class_colours, key_of_classes
from workbench.pictures.page_style import TEXT, WIDGETS
from workbench.pictures.stored import StoredMaps

LABEL, PROBE, LOSS = "label", "probe error", "reconstruction loss"
GREY = "#888888"
RANGE = (2, 98)
"""Percentiles of the darkest and the brightest colour."""


class Cloud:
    """Scatter of a store's images by their mean tokens.

    `on_region` is called with the rows of the selected points, or None without a selection.
    """

    def __init__(
        self, doc: Document, pool: Executor, on_region: Callable[[np.ndarray | None], None]
    ) -> None:
        self._on_region, self._later = on_region, Later(doc, pool, self._say)
        how = {"stylesheets": [WIDGETS], "sizing_mode": "stretch_width"}
        self.method = Select(title="Layout", name="layout", options=methods(), value="PCA", **how)
        self.colour = Select(title="Colour", name="colour", options=[LABEL, PROBE, LOSS], **how)
        self.colour.value = LABEL
        self.points = ColumnDataSource(
            {name: [] for name in ("x", "y", "row", "colour", "value", "label")}
        )
        self.note = Div(
            name="cloud note", stylesheets=[TEXT], disable_math=True, sizing_mode="stretch_width"
        )
        self.figure = figure(
            name="scatter", height=380, sizing_mode="stretch_width", output_backend="canvas",
            tools="pan,wheel_zoom,box_select,lasso_select,tap,reset", toolbar_location="above",
            background_fill_color=None, border_fill_color=None, outline_line_color=GREY,
            active_drag="box_select",
        )  # fmt: skip
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.figure.scatter(
            "x", "y", source=self.points, size=6, fill_color="colour", line_color=None,
            fill_alpha=0.8, nonselection_fill_alpha=0.12,
        )  # fmt: skip
        self._hover = HoverTool()
        self.figure.add_tools(self._hover)
        changed(self.method, "value", lambda: self._draw())
        changed(self.colour, "value", lambda: self._draw())
        changed(self.points.selected, "indices", lambda: self._selected())
        self._widgets = Row(self.method, self.colour, sizing_mode="stretch_width")
        self.layout = Column(self._widgets, self.note, sizing_mode="stretch_width", name="cloud")
        self._say("computing ...")

    def open(self, maps: StoredMaps, source: str, target: str, picture: str) -> None:
        """Show the images of another store, source or target; `picture` starts thumbnail URLs."""
        self._maps, self._source, self._target = maps, source, target
        # Bokeh escapes the values of @label; the address contains only numbers.
        self._hover.tooltips = (
            f'<img alt="" width="96" height="96" src="{escape(picture)}@row">'
            "<div>row @row<br>@label<br>@value</div>"
        )
        self._draw()

    def stop(self) -> None:
        """End the background work."""
        self._later.cancel()

    def _draw(self) -> None:
        self._say("computing ...")
        asked = (self._maps, self._source, self._target, self.method.value, self.colour.value)
        self._later.run(lambda: _points(*asked), self._show)

    def _show(self, found: tuple[dict, str]) -> None:
        self.points.selected.indices = []
        self.points.data, text = found
        self.layout.children = [self._widgets, self.figure, self.note]  # only once it has points
        self.note.text = text

    def _selected(self) -> None:
        chosen = np.sort(np.asarray(self.points.selected.indices, int))
        rows = np.asarray(self.points.data["row"])
        self._on_region(np.sort(rows[chosen]) if len(chosen) else None)

    def _say(self, text: str) -> None:
        self.note.text = f'<span class="soft">{escape(text)}</span>'


def _points(
    maps: StoredMaps, source: str, target: str, method: str, colour: str
) -> Iterator[tuple[dict, str]]:
    """Yield the columns of the scatter and its legend, once."""
    vectors = maps.vectors(source)
    place = maps.layout(source, method)
    labels = maps.store.labels[vectors.rows]
    names = np.array([*maps.store.label_names, "unlabelled"], dtype=object)
    if colour == LABEL:
        shades = [mpl.colors.to_hex(c) for c in class_colours(labels)]
        values = np.full(len(labels), "", dtype=object)
        present = [int(label) for label in np.unique(labels)]
        legend = key_of_classes([(label, str(names[label])) for label in present])
    else:
        probe = colour == PROBE
        values = maps.probe_loss(source) if probe else maps.reconstruction_loss(target, source)
        shades, legend = _shades(values, colour)
        values = np.array([f"{colour} {value:.3g}" for value in values], dtype=object)
    shown = "" if len(labels) == len(maps.store) else f", a sample of {len(maps.store)}"
    columns = {
        "x": place[:, 0],
        "y": place[:, 1],
        "row": vectors.rows,
        "colour": shades,
        "value": values.tolist(),
        "label": names[labels].tolist(),
    }
    yield columns, f"{len(labels)} images{shown}, {escape(method)} of mean tokens. {legend}"


def _shades(values: np.ndarray, what: str) -> tuple[list[str], str]:
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, RANGE) if len(known) else (0.0, 1.0)
    shares = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    colours = mpl.colormaps["viridis"](np.nan_to_num(shares))
    shades = [
        mpl.colors.to_hex(c) if np.isfinite(v) else GREY
        for c, v in zip(colours, values, strict=True)
    ]
    return shades, f"{escape(what)}: dark {low:.3g}, bright {high:.3g}"
