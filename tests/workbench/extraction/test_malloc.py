"""Freed blocks stay with the process up to the thresholds."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource, sys
from workbench.extraction.malloc import keep_blocks
if sys.argv[1] == "keep":
    keep_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def faults():
    for _ in range(20):
        block = libc.malloc(24 << 20)
        ctypes.memset(block, 1, 24 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_block_comes_back_without_fresh_pages():
    def faults(mode: str) -> int:
        # Dask's trim threshold, under which every block goes back to the kernel.
        environment = {"MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, "-c", SCRIPT, mode]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(done.stdout)

    assert 10 * faults("keep") < faults("as it is")
