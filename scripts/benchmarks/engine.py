"""Overhead of the Dask engine, and speed-up by a second worker.

    python scripts/benchmarks/engine.py --out scripts/benchmarks/results/engine.json

Takes about 15 minutes on 2 cores, 2 GB of memory and 1 GB of disk. Runs EfficientNet-Lite0 at 224
pixels over the bundled textiles in shards of the given size, one thread per process, in four ways:
one process without Dask, two such processes that divide the shards in advance, one Dask worker, and
two. The two processes without Dask show what the machine's cores and memory allow.

There are two figures. The *pass* begins when every worker has computed one shard, so that its model
is loaded; it omits the same shards in all four ways. The *whole* lasts from freshly started workers
to a complete store, including the import of libraries (which the processes without Dask have done
before) and the loading of models. Stores are new each time and compared byte by byte. Goals for
the pass: two workers at least 1.7 times as fast as one; one worker at most 5 % slower than the
process without Dask.
"""

from __future__ import annotations

import datetime
import itertools
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Barrier

import distributed
import torch
import tyro

from workbench import processors
from workbench.cluster import EngineOptions, tasks
from workbench.cluster.engine import connect
from workbench.cluster.extraction import _Work
from workbench.extraction import ExtractRequest
from workbench.extraction.local import open_extraction

WARM = 2
"""Shards before the pass, one for each worker."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    images: int = 1536
    """Images of each store."""
    shard_images: int = 128
    """Images per shard."""
    repeats: int = 5
    """Rounds of all four ways in turn; reported ratios are medians over rounds."""
    out: Path | None = None
    """File for the JSON report."""


def main(options: Options) -> dict:
    """All measurements."""
    os.environ |= dict.fromkeys(processors.THREADS, "1")  # inherited by child processes
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for _ in range(options.repeats):
            stores = {way: Path(folder, way) for way in WAYS}
            for way, timed in WAYS.items():
                found[way].append(timed(request(stores[way], options)))
                print(way, found[way][-1], file=sys.stderr, flush=True)
                assert chunks(stores[way]) == chunks(stores["in_process"])
            for store in stores.values():
                shutil.rmtree(store)
    loaded, whole = (times({way: [pair[k] for pair in found[way]] for way in WAYS}) for k in (0, 1))
    return {
        "images": options.images,
        "images_of_the_pass": options.images - WARM * options.shard_images,
        "shard_images": options.shard_images,
        "model": "bundled:efficientnet_lite0@224, one thread per process",
        "pass": loaded,
        "whole": whole,
        "machine": processors.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "distributed": distributed.__version__,
        "date": datetime.date.today().isoformat(),
    }


def times(seconds: dict[str, list[float]]) -> dict:
    """Seconds of each way in each round, their medians, and ratios of rounds with their medians."""
    ratios = {
        "one_worker_over_in_process": ("one_worker", "in_process"),
        "one_worker_over_two_workers": ("one_worker", "two_workers"),
        "in_process_over_two_processes": ("in_process", "two_processes"),
        "two_workers_over_two_processes": ("two_workers", "two_processes"),
    }
    rounds = {
        name: [round(x / y, 3) for x, y in zip(seconds[a], seconds[b], strict=True)]
        for name, (a, b) in ratios.items()
    }
    return {
        "seconds": {way: [round(s, 2) for s in found] for way, found in seconds.items()},
        "median": {way: round(statistics.median(found), 2) for way, found in seconds.items()},
        "ratios": {name: round(statistics.median(found), 3) for name, found in rounds.items()},
        "rounds": rounds,
    }


def without_dask(asked: ExtractRequest, processes: int) -> tuple[float, float]:
    """Seconds of the pass and of the whole in own processes, with the threads of a worker."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(processes, context) as pool:
        together = manager.Barrier(processes)
        shares = [pool.submit(share, asked, k, processes, together) for k in range(processes)]
        return tuple(max(of) for of in zip(*(s.result() for s in shares), strict=True))


def share(asked: ExtractRequest, first: int, step: int, together: Barrier) -> tuple[float, float]:
    """Every `step`-th shard in this process; the pass begins when every process has its model."""
    together.wait()
    start = time.perf_counter()
    run = open_extraction(asked)
    run.execute(range(first, WARM, step), progress=False)
    together.wait()
    middle = time.perf_counter()
    run.execute(range(WARM + first, run.shard_count, step), progress=False)
    end = time.perf_counter()
    return end - middle, end - start


def on_workers(asked: ExtractRequest, processes: int) -> tuple[float, float]:
    """The same on workers, which keep the models of the warm shards, as in an extraction."""
    with connect(EngineOptions(engine="dask", processes=processes)) as session:
        assert session is not None
        session.client.wait_for_workers(processes)
        addresses = itertools.cycle(session.look())
        ticket = tasks.Ticket(asdict(asked), uuid.uuid4().hex, os.getcwd())
        start = time.perf_counter()
        prepared = session.result(session.submit(tasks.prepare, ticket))
        assert not prepared.error, prepared.error
        warm = [
            session.client.submit(
                tasks.compute, ticket, (k,), workers=[next(addresses)], pure=False
            )
            for k in range(WARM)
        ]
        for future in warm:
            session.result(future)
        for shard in range(WARM):
            del prepared.missing[shard]
        work = _Work(session, ticket, lambda line: None, lambda: False)
        middle = time.perf_counter()
        work.run(prepared, shards_per_task=1)
        end = time.perf_counter()
    return end - middle, end - start


WAYS: dict[str, Callable[[ExtractRequest], tuple[float, float]]] = {
    "in_process": partial(without_dask, processes=1),
    "two_processes": partial(without_dask, processes=2),
    "one_worker": partial(on_workers, processes=1),
    "two_workers": partial(on_workers, processes=2),
}
"""Name to the way of doing the work."""


def request(store: Path, options: Options) -> ExtractRequest:
    """The same work for every way."""
    return ExtractRequest(
        dataset="bundled:textiles",
        models=["bundled:efficientnet_lite0"],
        scales=["224"],
        store=str(store),
        limit=options.images,
        shard_images=options.shard_images,
        device="cpu",
    )


def chunks(store: Path) -> dict[str, bytes]:
    """Bytes of every stored shard."""
    return {str(p.relative_to(store)): p.read_bytes() for p in store.glob("features/**/c.*")}


if __name__ == "__main__":
    chosen = tyro.cli(Options)
    made = json.dumps(main(chosen), indent=1)
    print(made)
    if chosen.out:
        chosen.out.write_text(made + "\n")
