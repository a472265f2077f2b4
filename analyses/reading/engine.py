"""Where the work of a pass runs: in this process, or wherever an engine that is handed in takes it.

This package knows no cluster. Results are combined in one tree that depends on the number of items
alone, so any number of workers gives the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FAN_IN = 8
"""Results combined one after the other at each level of the tree: 4096 items make four levels, and
no more results than levels wait in memory when one process does all the work."""


class Engine(Protocol):
    """Runs a function on every item; elsewhere, functions and items must pickle."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, each as soon as it and those before it are there."""

    def reduce(
        self,
        function: Callable[[Item], Result],
        combine: Callable[[Result, Result], Result],
        items: Sequence[Item],
    ) -> Result:
        """The results combined as :func:`tree` does."""


class Local:
    """The engine of one process: an item at a time, each read only once it is needed."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(function, items)

    def reduce(
        self,
        function: Callable[[Item], Result],
        combine: Callable[[Result, Result], Result],
        items: Sequence[Item],
    ) -> Result:
        return tree(function, combine, items)


def tree(
    leaf: Callable[[Item], Result],
    combine: Callable[[Result, Result], Result],
    items: Sequence[Item],
) -> Result:
    """Combine the results of all items in order, up to :data:`FAN_IN` of them at a time.

    >>> tree(str, "({} {})".format, range(10))
    '((((((((0 1) 2) 3) 4) 5) 6) 7) (8 9))'
    """
    if len(items) == 1:
        return leaf(items[0])
    size = 1
    while size * FAN_IN < len(items):
        size *= FAN_IN
    groups = (items[k : k + size] for k in range(0, len(items), size))
    return functools.reduce(combine, (tree(leaf, combine, group) for group in groups))
