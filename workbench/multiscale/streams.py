"""Threads that run a model side by side, each of them on one core.

The threads of one operation wait for each other at its end, hundreds of times in a forward pass;
where another program takes one of the cores away, all the others wait with it. Streams meet only at
the end of a batch. On a CPU they are also faster alone:
``scripts/benchmarks/busy_machine.py``.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


def one_core_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads in which every torch operation uses one core; other threads keep theirs."""
    before = torch.get_num_threads()
    begun = threading.Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first look takes over the number of the process
        torch.set_num_threads(1)
        begun.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="stream", initializer=begin)
    for _ in range(count):  # each starts a thread, as the ones before wait
        pool.submit(int)
    begun.wait()
    torch.set_num_threads(before)  # of threads that start later: it is set for the process, too
    return pool
