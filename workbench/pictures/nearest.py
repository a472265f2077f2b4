"""Search a store for the tokens most similar to one token, and list them during the search."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from html import escape

from bokeh.document import Document
from bokeh.models import Div

from analyses.token_maps import Places, places_so_far
from workbench.pictures.later import Later
from workbench.pictures.page_style import TEXT, WIDE
from workbench.pictures.places_html import places_html
from workbench.pictures.stored import StoredMaps

LISTED = 12
"""Nearest tokens listed."""
EACH = 16
"""Shards between two updates of the list."""


class Nearest:
    """A search in a thread, and the list of its results."""

    def __init__(self, doc: Document, pool: Executor) -> None:
        self.text = Div(name="nearest", stylesheets=[TEXT], disable_math=True, **WIDE)
        self._later = Later(doc, pool, self._tell)
        self._tell("searching ...")

    def search(
        self, maps: StoredMaps, source: str, row: int, at: tuple[int, int], picture: str
    ) -> None:
        """List the places most similar to a token of an image; `picture` starts photograph URLs."""
        if why := maps.failure(source, row):
            self.stop()
            self._tell(f"no features: {why}")
            return
        query = maps.tokens(source, row)[at]
        self._tell("searching ...")

        def found() -> Iterator[tuple[Places, float]]:
            shards = maps.store.source(maps.store.resolve(source).singles()[0]).shard_count
            answers = places_so_far(maps.store, source, query, LISTED, without=row)
            for number, places in enumerate(answers, 1):
                if number % EACH == 0 or number == shards:
                    yield places, number / shards
            yield places, 1.0

        def show(answer: tuple[Places, float]) -> None:
            places, done = answer
            ids = [str(name) for name in maps.image_ids[places.image]]
            self.text.text = places_html(places, ids, maps.grid(source), picture, done)

        self._later.run(found, show)

    def stop(self) -> None:
        """End the background work."""
        self._later.cancel()

    def _tell(self, text: str) -> None:
        self.text.text = f'<span class="soft">{escape(text)}</span>'
