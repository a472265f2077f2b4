"""Background work of the page: shown in turn, dropped once outdated, its memory given back."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from feature_store import InputError
from workbench.pictures.later import Later


class Doc:
    """A document whose callbacks run at once."""

    def add_next_tick_callback(self, callback):
        callback()


def megabytes():
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


def test_results_are_shown_in_turn_and_the_outdated_dropped():
    shown, problems = [], []
    with ThreadPoolExecutor(1) as pool:
        later = Later(Doc(), pool, problems.append)

        def outdated():
            later.cancel()
            yield "too late"

        def refused():
            yield 3
            raise InputError("no labels")

        later.run(lambda: iter([1, 2]), shown.append)
        pool.submit(int).result()
        later.run(outdated, shown.append)
        pool.submit(int).result()
        later.run(refused, shown.append)
    assert (shown, problems) == ([1, 2, 3], ["no labels"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_the_work_is_given_back():
    def work():
        for size in range(1, 31):  # freed each time: glibc then keeps blocks of up to this size
            np.ones(size << 17)
        kept = [np.ones(1 << 20) for _ in range(60)]
        yield len(kept)

    before = megabytes()
    with ThreadPoolExecutor(1) as pool:
        Later(Doc(), pool, print).run(work, print)
        pool.submit(int).result()
        assert megabytes() < before + 100
