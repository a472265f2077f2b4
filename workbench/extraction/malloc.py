"""glibc's memory thresholds: what stays with the process for the next forward pass."""

from __future__ import annotations

import ctypes
import sys

MALLOC = {"MALLOC_TRIM_THRESHOLD_": 64 * 2**20, "MALLOC_MMAP_THRESHOLD_": 32 * 2**20}
"""Environment variable to bytes. A forward pass on a CPU asks for the same activations over and
over; blocks above the thresholds go back to the kernel and come again as pages that it has to
clear, most of all under Dask, whose own trim threshold is 64 kB. These are the largest values that
glibc arrives at by itself."""
PARAMETERS = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}
"""The same as glibc's ``mallopt`` numbers them (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD)."""


def keep_blocks() -> None:
    """Set the thresholds in this process; nothing happens where the C library is not glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(library, "mallopt", None)
    if mallopt is not None:
        for name, size in MALLOC.items():
            mallopt(PARAMETERS[name], size)
