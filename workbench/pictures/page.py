"""The page of ``workbench explore``: reacts to choices and draws.

It uses Bokeh's own server: Panel would add nine packages for widgets that this page does not need.
All pixels, names and scripts come from this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from html import escape
from typing import Any

import bokeh
import numpy as np
from bokeh.document import Document
from bokeh.models import Column, Div, Row

from analyses.token_maps import similarity_map
from workbench.figures.panels import with_foreground
from workbench.pictures import overlays
from workbench.pictures.choices import Choices
from workbench.pictures.chooser import Chooser
from workbench.pictures.cloud import Cloud
from workbench.pictures.events import changed
from workbench.pictures.later import Later
from workbench.pictures.nearest import Nearest
from workbench.pictures.page_style import GRID, TEMPLATE, TEXT, WIDE
from workbench.pictures.source_panel import SourcePanel
from workbench.pictures.stored import StoredMaps
from workbench.pictures.tile import Tile, as_bytes, coloured


class Page:
    """One visitor's page over some stores, in an empty document.

    Each store has at least one source with maps. The pool runs background work; it and the stores
    are shared by all visitors.
    """

    def __init__(self, doc: Document, stores: Sequence[StoredMaps], pool: Executor) -> None:
        self.stores = list(stores)
        self.panels: dict[str, Any] = {}
        self.row, self.at, self._quiet, self._seen = 0, (0.5, 0.5), False, False
        self.maps = self.stores[0]
        self._build()
        self.cloud = Cloud(doc, pool, self._filter)
        self.nearest = Nearest(doc, pool)
        self._laying = Later(doc, pool, lambda why: self._tell(self.legend, why))
        self.open(0)
        for root in self._roots():
            doc.add_root(root)
        doc.template_variables["version"] = bokeh.__version__
        doc.template, doc.title = TEMPLATE, f"Tokens of {self.maps.store.path}"
        doc.on_event("document_ready", lambda _: self._first_seen())
        doc.on_session_destroyed(lambda _: self.stop())

    def open(self, number: int) -> None:
        """Show another of the stores."""
        self.maps, self.row = self.stores[number], 0
        store = self.maps.store
        left_out = "".join(
            f'<br><span class="warn">{escape(name)} {escape(why)}</span>'
            for name, why in self.maps.left_out.items()
        )
        self.about.text = (
            f'<b>{escape(store.path)}</b> <span class="soft">{escape(store.dataset)}, '
            f"{len(store)} images</span>{left_out}"
        )
        self._quiet = True
        self.choices.open(self.maps)
        self._quiet = False
        self._make_panels()
        self.chooser.open(self.maps)
        self._query_chosen()

    def stop(self) -> None:
        """End the background work of this visitor."""
        self._laying.cancel()
        self.nearest.stop()
        self.cloud.stop()

    def _first_seen(self) -> None:
        """Once the first picture is drawn, begin the work that reads the whole store."""
        self._seen = True
        self._draw_cloud()
        self._search()

    # -- what was chosen -----------------------------------------------------------------------

    def _row_chosen(self, row: int) -> None:
        self.row = row
        self._draw_image()

    def _sources_chosen(self) -> None:
        if not self._quiet:
            self._make_panels()
            self._draw_image(search=False)

    def _make_panels(self) -> None:
        names = [self.maps.sources[k] for k in sorted(self.choices.sources.active)]
        self.panels = {name: SourcePanel(name, self.pick) for name in names}
        self.board.children = [panel.layout for panel in self.panels.values()]

    def _query_chosen(self) -> None:
        """Show the grid, overlays and scatter of another source whose token is selected."""
        if self._quiet:
            return
        self._place_token()
        self.choices.offer_overlays()
        self._draw_cloud()
        self._draw_image()

    def _target_chosen(self) -> None:
        if not self._quiet:
            self._draw_cloud()
            self._draw_overlay()

    def pick(self, source: str, y: float, x: float) -> None:
        """Select the token of a source at these shares of height and width."""
        if not (0 <= y < 1 and 0 <= x < 1):
            return
        self.at = (y, x)
        if source != self.choices.query.value:
            self.choices.query.value = source  # draws the tokens too
        else:
            self._place_token()
            self._draw_tokens()

    def _token_typed(self) -> None:
        if self._quiet or None in (self.choices.row.value, self.choices.column.value):
            return
        rows, cols = self.maps.grid(self.choices.query.value)
        row, col = int(self.choices.row.value), int(self.choices.column.value)
        self.at = (min(row, rows - 1) + 0.5) / rows, (min(col, cols - 1) + 0.5) / cols
        self._draw_tokens()

    def _filter(self, rows: np.ndarray | None) -> None:
        self.chooser.region = rows
        self.chooser.refresh()

    # -- what is drawn -------------------------------------------------------------------------

    def _draw_cloud(self) -> None:
        if self._seen:
            source = self.choices.query.value
            picture = self._picture(source, 128)
            self.cloud.open(self.maps, source, self.choices.target.value, picture)

    def _draw_image(self, *, search: bool = True) -> None:
        picture = self.maps.photograph(self.row, self.choices.query.value)
        self.photograph.show(None if isinstance(picture, str) else picture)
        self.legend.text = ""
        words = escape(self.chooser.describe(self.row))
        if isinstance(picture, str):
            words += f'<br><span class="warn">no photograph: {escape(picture)}</span>'
        self.caption.text = words
        self._draw_colours()
        self._draw_tokens(search=search)
        self._draw_overlay()

    def _draw_colours(self) -> None:
        for name, panel in self.panels.items():
            why = self.maps.failure(name, self.row)
            rows, cols = self.maps.grid(name)
            panel.caption.text = f"{escape(name)}<br>" + (
                f'<span class="warn">no features: {escape(why)}</span>' if why else
                f'<span class="soft">{rows} x {cols} tokens</span>'
            )  # fmt: skip
            rgb = self.maps.basis(name).rgb(self.maps.tokens(name, self.row))
            low, high = self.choices.foreground.value
            chosen = None if (low, high) == (0, 1) else (low, high)
            panel.colours.show(as_bytes(with_foreground(rgb, chosen)))

    def _draw_tokens(self, *, search: bool = True) -> None:
        for name, panel in self.panels.items():
            tokens, grid = self.maps.tokens(name, self.row), self.maps.grid(name)
            at = _token(self.at, grid)
            found = similarity_map(tokens, at)
            least = float(np.nanmin(found, initial=0.0))
            panel.similar.show(coloured(found, (least, 1.0), "viridis"))
            for tile in (panel.colours, panel.similar):
                tile.outline(at, grid)
        grid = self.maps.grid(self.choices.query.value)
        self.photograph.outline(_token(self.at, grid), grid)
        if search:
            self._search()

    def _search(self) -> None:
        maps, source, row = self.maps, self.choices.query.value, self.row
        if self._seen:
            at = _token(self.at, maps.grid(source))
            self.nearest.search(maps, source, row, at, self._picture(source, 224))

    def _draw_overlay(self) -> None:
        self._laying.cancel()
        self.photograph.cover(None)
        self.legend.text = ""
        kind, source = self.choices.overlay.value, self.choices.query.value
        asked = (self.maps, kind, source, self.choices.target.value, self.row)
        if kind == overlays.NONE:
            return
        self._tell(self.legend, "computing ...")

        def show(made: overlays.Overlay) -> None:
            self.photograph.cover(made.rgba)
            self.legend.text = made.legend

        self._laying.run(lambda: iter([overlays.overlay(*asked)]), show)

    # -- parts of the page ---------------------------------------------------------------------

    def _build(self) -> None:
        self.about, self.legend, self.caption = (
            self._text(name) for name in ("about", "legend", "caption")
        )
        self.photograph = Tile(
            "photograph tile", lambda y, x: self.pick(self.choices.query.value, y, x)
        )
        self.board = Row(name="maps", stylesheets=[GRID], **WIDE)
        self.chooser = Chooser(self._row_chosen)
        self.choices = Choices(self.stores, self.chooser.layout)
        changed(self.choices.store, "value", lambda: self.open(int(self.choices.store.value)))
        changed(self.choices.sources, "active", lambda: self._sources_chosen())
        changed(self.choices.query, "value", lambda: self._query_chosen())
        changed(self.choices.row, "value", lambda: self._token_typed())
        changed(self.choices.column, "value", lambda: self._token_typed())
        changed(self.choices.foreground, "value", lambda: self._draw_colours())
        changed(
            self.choices.overlay, "value", lambda: None if self._quiet else self._draw_overlay()
        )
        changed(self.choices.target, "value", lambda: self._target_chosen())

    def _roots(self) -> list:
        photograph = self.photograph.figure, self.caption, self.legend
        shown = Column(*photograph, name="photograph", **WIDE)
        below = self.nearest.text, self.cloud.layout
        return [self.about, self.choices.layout, shown, self.board, *below]

    def _place_token(self) -> None:
        """Show the token's row and column on the grid of its source."""
        grid = self.maps.grid(self.choices.query.value)
        self._quiet = True
        self.choices.place(_token(self.at, grid), grid)
        self._quiet = False

    def _picture(self, source: str, side: int) -> str:
        """Address of a photograph as a source saw it, up to the row number."""
        store, number = self.stores.index(self.maps), self.maps.sources.index(source)
        return f"picture?store={store}&source={number}&side={side}&row="

    def _text(self, name: str) -> Div:
        return Div(name=name, stylesheets=[TEXT], disable_math=True, **WIDE)

    def _tell(self, where: Div, text: str) -> None:
        where.text = f'<span class="soft">{escape(text)}</span>'


def _token(at: tuple[float, float], grid: tuple[int, int]) -> tuple[int, int]:
    """The token of a grid at these shares of height and width."""
    row, col = (min(int(share * n), n - 1) for share, n in zip(at, grid, strict=True))
    return row, col
