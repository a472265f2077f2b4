"""The largest image that a decoder may decode, from the memory that it has."""

from __future__ import annotations

import functools
import os
from pathlib import Path

BYTES_PER_PIXEL = 16
"""Peak of decoding and converting one pixel: 2.7 GB were seen for 13300 x 13300 pixels."""
USUAL_PIXELS = 89_478_485
"""Largest default, where Pillow begins to warn of a decompression bomb."""
PILLOW_PIXELS = 2 * USUAL_PIXELS
"""Number of pixels above which Pillow refuses an image."""
_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usual_pixels(decoders: int = 1) -> int:
    """Pixels per image that this many decoders may decode at once in half the memory."""
    return max(1, min(USUAL_PIXELS, memory_bytes() // 2 // decoders // BYTES_PER_PIXEL))


@functools.cache
def memory_bytes() -> int:
    """Memory of this machine, or what its control group grants to this process."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP:
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(limits)
