"""What is offered of a store, what is missing and why, and that each thing is computed once."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import feature_store
from feature_store import InputError
from workbench.pictures.maps import find_image
from workbench.pictures.once import KEPT, Once
from workbench.pictures.stored import StoredMaps


def test_scales_of_one_grid_are_offered_together_and_then_apart(seen_store):
    maps = StoredMaps(seen_store())
    s2 = ["m:small#t@28+56", "m:small#t@28", "m:small#t@56"]
    assert maps.sources == [*s2, "m:large#t@28"]
    assert maps.parts("m:small@28+56") == s2
    whole, first, second = (maps.tokens(name, 3) for name in s2)
    np.testing.assert_array_equal(whole, np.concatenate([first, second], -1))


def test_kept_positions_and_incomplete_sources_are_left_out_by_name(seen_store):
    store = seen_store()
    how = {"manifest": {"model": "m"}, "channels": 2, "dtype": "float32", "grid": (7, 7)}
    store.add_source("m:few#t@28.t3", keep=3, **how)
    store.add_source("m:half#t@28", **how)
    maps = StoredMaps(feature_store.open(store.path))
    assert set(maps.left_out) == {"m:few#t@28.t3", "m:half#t@28"}
    assert "keeps 3 of 49" in maps.left_out["m:few#t@28.t3"]
    assert "3 shards" in maps.left_out["m:half#t@28"]
    with pytest.raises(InputError, match="keeps 3 of 49 token positions"):
        maps.tokens("m:few#t@28.t3", 0)


def test_photographs_and_what_is_missing_of_them(seen_store):
    store = seen_store(failed=[2])
    maps = StoredMaps(store)
    assert maps.photograph(0, "m:small#t@28").shape == (28, 28, 3)
    assert "damaged" in maps.failure("m:small@28+56", 2)
    assert maps.failure("m:small@28", 0) is None
    folder = Path(store.dataset.partition(":")[2])
    (folder / store.image_ids[0]).unlink()
    fresh = StoredMaps(feature_store.open(store.path))
    assert store.image_ids[0] in fresh.photograph(0, "m:small#t@28")
    assert np.isfinite(fresh.tokens("m:small#t@28", 0)).all()
    shutil.rmtree(folder)
    assert str(folder) in StoredMaps(store).photograph(1, "m:small#t@28")


def test_nothing_is_written(seen_store):
    store = seen_store()
    before = {p: p.stat().st_mtime_ns for p in Path(store.path).rglob("*")}
    maps = StoredMaps(store)
    maps.basis("m:small@28+56")
    maps.probe("m:small@28")
    maps.moments(["m:small@28", "m:large@28"])
    assert {p: p.stat().st_mtime_ns for p in Path(store.path).rglob("*")} == before


def test_once_computes_once_for_many_threads_and_keeps_no_failure():
    once, calls, gate = Once(), [], threading.Event()

    def make():
        calls.append(1)
        gate.wait(5)
        return "made"

    found = []
    threads = [threading.Thread(target=lambda: found.append(once("k", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert (found, len(calls)) == (["made"] * 4, 1)
    with pytest.raises(ZeroDivisionError):
        once("bad", lambda: 1 / 0)
    assert once("bad", lambda: 3) == 3


def test_once_keeps_what_was_used_last():
    once, calls = Once(), []
    for number in range(KEPT + 1):
        once(number, lambda number=number: calls.append(number))
        once(0, lambda: calls.append("again"))
    once(1, lambda: calls.append("again"))
    assert calls == [*range(KEPT + 1), "again"]


def test_an_id_counts_before_a_row_number():
    with pytest.raises(InputError, match=r"'x'.*'a'.*0 to 1"):
        find_image(["a", "b"], "x")
    assert find_image(["2", "a", "b"], "2") == 0
