"""Work beside the page: in a thread, its results shown in turn, and dropped once outdated."""

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
    """One kind of background work of a page: a new request replaces the one before.

    Parameters
    ----------
    doc : Document
        Changed only between its other events.
    pool : Executor
        Its threads do the work; shared, so that memory does not grow with visitors.
    problem : callable
        Is given one line where the work cannot be done.
    """

    def __init__(self, doc: Document, pool: Executor, problem: Callable[[str], None]) -> None:
        self._doc, self._pool, self._problem = doc, pool, problem
        self._latest = 0

    def run(self, work: Callable[[], Iterator[Any]], show: Callable[[Any], None]) -> None:
        """Iterate over `work` in the thread and `show` each result in the page."""
        self._latest += 1
        self._pool.submit(self._work, self._latest, work, show)

    def cancel(self) -> None:
        """Show nothing more of what was asked for."""
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
            self._next(number, self._problem, "this failed; the terminal says why")
        finally:
            give_back()  # or the page would hold the memory of its largest work, several times

    def _next(self, number: int, show: Callable[[Any], None], result: Any) -> None:
        def shown() -> None:
            if number == self._latest:
                show(result)

        self._doc.add_next_tick_callback(shown)
