"""Choose an image: by row, by part of its id, or from a region of the scatter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bokeh.models import Button, Column, Div, MultiSelect, Row, Spinner, TextInput

from workbench.pictures.events import changed
from workbench.pictures.page_style import TEXT, WIDGETS
from workbench.pictures.stored import StoredMaps

LISTED = 200
"""Largest number of images in the list; the filter finds the others."""


class Chooser:
    """Row number, previous and next, a filter and a list; calls `on_row` with the chosen row."""

    def __init__(self, on_row: Callable[[int], None]) -> None:
        self._on_row, self._quiet = on_row, False
        how = {"stylesheets": [WIDGETS], "sizing_mode": "stretch_width"}
        self.row = Spinner(title="Image: row", name="row", low=0, step=1, value=0, **how)
        back = Button(label="previous", name="previous", **how)
        ahead = Button(label="next", name="next", **how)
        self.filter = TextInput(title="Part of its id or label", name="filter", **how)
        self.list = MultiSelect(title="Images", name="images", size=8, **how)
        self.note = Div(stylesheets=[TEXT], disable_math=True, sizing_mode="stretch_width")
        changed(self.row, "value", lambda: self._chosen(self.row.value))
        changed(self.list, "value", lambda: self._chosen(*self.list.value[:1]))
        changed(self.filter, "value", lambda: self.refresh())
        back.on_click(lambda: self._step(-1))
        ahead.on_click(lambda: self._step(1))
        steps = Row(back, ahead, sizing_mode="stretch_width")
        self.layout = Column(
            self.row, steps, self.filter, self.list, self.note, sizing_mode="stretch_width"
        )
        self.region: np.ndarray | None = None

    def open(self, maps: StoredMaps) -> None:
        """Show the images of another store, with the first one chosen."""
        self.maps, self.region = maps, None
        self.row.high = len(maps.image_ids) - 1
        self.refresh()

    def show(self, row: int) -> None:
        """Show the current row without choosing it again."""
        self._quiet = True
        self.row.value = row
        self._quiet = False

    def refresh(self) -> None:
        """List the images of the region that match the filter."""
        rows = np.arange(len(self.maps.image_ids)) if self.region is None else self.region
        text = self.filter.value_input or self.filter.value
        if text:
            ids = self.maps.image_ids[rows]
            hit = np.char.find(np.char.lower(ids), text.lower()) >= 0
            names = self.maps.store.label_names
            of_label = [k for k, name in enumerate(names) if text.lower() in name.lower()]
            rows = rows[hit | np.isin(self.maps.store.labels[rows], of_label)]
        self._quiet = True
        self.list.value = []
        self.list.options = [(str(row), self.describe(int(row))) for row in rows[:LISTED]]
        self._quiet = False
        where = "of the store" if self.region is None else "of the region"
        more = f", the first {LISTED} listed" if len(rows) > LISTED else ""
        self.note.text = f'<span class="soft">{len(rows)} images {where}{more}</span>'

    def describe(self, row: int) -> str:
        """One line about an image; plain text."""
        label = int(self.maps.store.labels[row])
        name = f" · {self.maps.store.label_names[label]}" if label >= 0 else ""
        return f"{row} {self.maps.image_ids[row]}{name}"

    def _step(self, by: int) -> None:
        if self.region is not None and len(self.region):
            place = int(np.searchsorted(self.region, self.row.value)) + by
            self._chosen(int(self.region[np.clip(place, 0, len(self.region) - 1)]))
        else:
            self._chosen(int(self.row.value) + by)

    def _chosen(self, row: int | str | None = None) -> None:
        if self._quiet or row is None:
            return
        wanted = int(np.clip(int(row), 0, len(self.maps.image_ids) - 1))
        self.show(wanted)
        self._on_row(wanted)
