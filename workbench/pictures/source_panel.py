"""The column of one source on the page."""

from __future__ import annotations

from collections.abc import Callable

from bokeh.models import Column, Div

from workbench.pictures.page_style import PANEL, TEXT, WIDE
from workbench.pictures.tile import Tile


class SourcePanel:
    """One source: its token map in colours, and similarities to the selected token."""

    def __init__(self, source: str, on_tap: Callable[[str, float, float], None]) -> None:
        self.source = source
        self.colours, self.similar = (
            Tile(f"{kind} {source}", lambda y, x: on_tap(source, y, x))
            for kind in ("colours", "similarity")
        )
        self.caption = Div(stylesheets=[TEXT], disable_math=True, **WIDE)
        self.layout = Column(
            self.caption, self.colours.figure, self.similar.figure, stylesheets=[PANEL], **WIDE
        )
