"""Preloaded by workers of this machine: Ctrl-C and the end of a terminal go to all its processes,
and only the one that was started there decides what they mean."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:
    """Called by Dask in the worker's main thread."""
    for name in ("SIGINT", "SIGHUP"):  # the latter not on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
