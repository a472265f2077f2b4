"""Background work of the page: runs in a thread; outdated results are dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from bokeh.document import Document

from feature_store import InputError
from workbench.pictures.freed import give_back

LOG = logging.getLogger(__name__)


class Later:
    """One kind of background work of a page: a new request replaces the previous one.

    The document is changed only in its event loop. All visitors share the pool, so that memory does
    not grow with their number. `problem` is called with one line if the work fails.
    """

    def __init__(self, doc: Document, pool: Executor, problem: Callable[[str], None]) -> None:
        self._doc, self._pool, self._problem = doc, pool, problem
        self._latest = 0

    def run(self, work: Callable[[], Iterator[Any]], show: Callable[[Any], None]) -> None:
        """Iterate over `work` in the thread and `show` each result in the page."""
        self._latest += 1
        self._pool.submit(self._work, self._latest, work, show)

    def cancel(self) -> None:
        """Drop all results that are not shown yet."""
        self._latest += 1

    def _work(
        self, number: int, work: Callable[[], Iterator[Any]], show: Callable[[Any], None]
    ) -> None:
        try:
            if number == self._latest:
                for result in work():
                    if number != self._latest:
                        return
                    self._next(number, show, result)
        except InputError as error:
            self._next(number, self._problem, str(error))
        except Exception:
            LOG.exception("background work of the page failed")
            self._next(number, self._problem, "this failed; see the terminal for the reason")
        finally:
            give_back()  # otherwise each thread would keep the memory of its largest work

    def _next(self, number: int, show: Callable[[Any], None], result: Any) -> None:
        def shown() -> None:
            if number == self._latest:
                show(result)

        self._doc.add_next_tick_callback(shown)
