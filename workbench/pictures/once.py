"""Compute each result once, even if several threads ask for it at the same time."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")

KEPT = 64
"""Number of results kept: those used last."""


def once(method: Callable[..., Result]) -> Callable[..., Result]:
    """Decorate a method to run once per arguments; the object needs an attribute ``_once``."""

    @functools.wraps(method)
    def found(self: Any, *args: Any) -> Result:
        key = tuple(tuple(a) if isinstance(a, list) else a for a in args)
        return self._once((method.__name__, *key), lambda: method(self, *args))

    return found


class Once:
    """A thread-safe cache of recent results; later callers wait, and failures are not kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Future] = OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The result of `make` for this key."""
        with self._lock:
            mine = key not in self._found
            future: Future[Any] = self._found.setdefault(key, Future())
            self._found.move_to_end(key)
            if len(self._found) > KEPT:
                self._found.popitem(last=False)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._found.pop(key, None)
                future.set_exception(error)
        return future.result()
