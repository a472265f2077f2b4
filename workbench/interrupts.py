"""Ctrl-C, SIGTERM and SIGHUP (a terminal was closed): who acts on them, and when."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress


def endings() -> tuple[signal.Signals, ...]:
    """SIGTERM and, if it exists and is not ignored (as under ``nohup``), SIGHUP."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, hangup)


_AFTER_SHARD = "stopping after this shard; once more to stop at once (the shard is then redone)"


@contextmanager
def stop_requests(
    log: Callable[[str], None], line: str = _AFTER_SHARD, also: Sequence[signal.Signals] = ()
) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a request to stop at the next good moment.

    Yields whether that was requested. The first signal prints `line`: when the run stops, and what
    a second signal does. The second raises KeyboardInterrupt. Signals in `also` count, too.
    """
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        tell(log, line)

    with _handled((signal.SIGINT, *endings(), *also), ask):
        yield lambda: bool(asked)


@contextmanager
def endings_interrupt(log: Callable[[str], None]) -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt in the block, as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        tell(log, f"ending ({signal.Signals(number).name})")
        raise KeyboardInterrupt

    with _handled(endings(), interrupt):
        yield


@contextmanager
def _handled(
    signals: Sequence[signal.Signals], handler: Callable[[int, object], None]
) -> Iterator[None]:
    """Handle signals in the block; outside the main thread they are left alone."""
    previous = {}
    with suppress(ValueError):  # not the main thread
        for number in signals:
            previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def ignore_interrupts() -> None:
    """Ctrl-C and SIGHUP reach all processes of a terminal; a worker leaves them to the main one."""
    for name in ("SIGINT", "SIGHUP"):  # the latter not on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def dask_setup(worker: object) -> None:
    """Called by Dask in the main thread of a worker that preloads this module."""
    ignore_interrupts()


def tell(log: Callable[[str], None], line: str) -> None:
    """Log a line; where the terminal is gone, discard it and everything printed there later.

    Without this the first line printed after a hangup would end the run in the middle of a shard.
    """
    try:
        log(line)
    except RuntimeError:  # the signal came while another line was being printed
        pass
    except OSError:
        leave_terminal()


def leave_terminal() -> None:
    """Discard all later output to a terminal that is gone; files and pipes stay as they are."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        with suppress(OSError):  # closed
            if stat.S_ISCHR(os.fstat(output).st_mode):
                os.dup2(nowhere, output)
    os.close(nowhere)
