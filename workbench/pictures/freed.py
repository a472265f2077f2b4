"""Return freed memory to the kernel, which glibc would keep for later arrays."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Trim the heaps of all threads; does nothing unless the C library is glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    if trim is not None:
        trim(0)
