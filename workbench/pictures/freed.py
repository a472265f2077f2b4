"""Give freed memory back to the kernel; glibc would keep it for arrays to come."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Trim the heaps of all threads; nothing happens where the C library is not glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    if trim is not None:
        trim(0)
