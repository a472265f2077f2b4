"""The choices of the page besides the image: sources, token, overlay, target."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bokeh.models import CheckboxGroup, Column, Div, RangeSlider, Row, Select, Spinner

from workbench.pictures import overlays
from workbench.pictures.page_style import CHOICES, TEXT, WIDE, WIDGETS
from workbench.pictures.stored import StoredMaps

SHOWN = 3
"""Sources shown at first: one model at all its scales, and at two single scales."""


class Choices:
    """Widgets and their options for the current store; `image` has the widgets that choose one."""

    def __init__(self, stores: Sequence[StoredMaps], image: Column) -> None:
        how = {"stylesheets": [WIDGETS], **WIDE}
        self.store = Select(
            title="Store", options=[(str(k), m.store.path) for k, m in enumerate(stores)],
            value="0", **how,
        )  # fmt: skip
        self.sources = CheckboxGroup(name="sources", **how)
        self.query = Select(title="Token of", name="query", **how)
        self.row, self.column = (
            Spinner(title=title, name=f"token {title}", low=0, step=1, value=0, **how)
            for title in ("row", "column")
        )
        self.foreground = RangeSlider(
            title="Foreground: first component", start=0, end=1, step=0.01, value=(0, 1), **how
        )
        self.overlay = Select(
            title="Over the photograph", name="overlay", value=overlays.NONE, **how
        )
        self.target = Select(title="Target of the reconstruction", name="target", **how)
        heading = Div(text=escape("Sources"), stylesheets=[TEXT], disable_math=True, **WIDE)
        token = Row(self.row, self.column, **WIDE)
        several = [self.store] if len(stores) > 1 else []
        below = [self.query, token, heading, self.sources, self.foreground, self.overlay]
        self.layout = Column(
            *several, image, *below, self.target, name="choices", stylesheets=[CHOICES], **WIDE
        )

    def open(self, maps: StoredMaps) -> None:
        """Offer the sources of another store, with the first ones chosen."""
        self.sources.labels = maps.sources
        self.sources.active = list(range(min(SHOWN, len(maps.sources))))
        self.query.options, self.query.value = maps.sources, maps.sources[0]
        parts = maps.parts(maps.sources[0])
        others = [name for name in maps.sources if name not in parts] or maps.sources
        self.target.options, self.target.value = maps.sources, others[0]

    def offer_overlays(self) -> None:
        """Offer the overlays of the source whose token is selected."""
        self.overlay.options = overlays.kinds(self.query.value)
        if self.overlay.value not in self.overlay.options:
            self.overlay.value = overlays.NONE

    def place(self, at: tuple[int, int], grid: tuple[int, int]) -> None:
        """Show a token's row and column."""
        for box, value, count in zip((self.row, self.column), at, grid, strict=True):
            box.high, box.value = count - 1, value
