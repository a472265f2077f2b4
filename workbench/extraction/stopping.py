"""Ctrl-C, SIGTERM and SIGHUP end a run at a shard's end; a second one ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.interrupts import endings, tell


@contextmanager
def stop_requests(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a request to stop after the shard in hand.

    A second one acts at once. Outside the main thread signals are left alone, and so is a SIGHUP
    that is ignored, as under ``nohup``.
    """
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        tell(say, "stopping after this shard; once more to stop at once (the shard is then redone)")

    previous = {}
    try:
        for number in (signal.SIGINT, *endings()):
            previous[number] = signal.signal(number, ask)
    except ValueError:  # not the main thread
        pass
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
