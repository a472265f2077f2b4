"""Preloaded by workers of this machine: Ctrl-C goes to every process of a terminal, and only the
one that was started there decides what it means."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:
    """Called by Dask in the worker's main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
