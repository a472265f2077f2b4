"""Time and memory of a scheduler with 100,000 shards, for three ways of submission.

    python scripts/benchmarks/scheduler.py --out scripts/benchmarks/results/scheduler.json

Some 5 minutes on 2 cores, 3 GB of memory. A Dask scheduler and two worker processes; the tasks are
those of an extraction, on a store where all is done, so they find nothing to do. The workers have
100 threads each: as many tasks are under way as in a run on 200 workers. Three ways: all tasks
submitted at once, as a plain ``client.map`` does; two per worker at a time, as an extraction does
(its own loop runs here); and the latter with 16 shards to a task. The scheduler is a new one each
time; its memory is the most that it ever held.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import distributed
import tyro

from workbench import processors
from workbench.cluster import EngineOptions, extraction, tasks
from workbench.cluster.engine import SETTINGS, connect
from workbench.extraction import ExtractRequest, extract

MODEL = "random:timm:test_vit.r160_in1k"
LOG = str(SETTINGS["distributed.admin.low-level-log-length"])
"""Messages that the scheduler keeps for each worker, as in our own scheduler."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    shards: int = 100_000
    """Shards to submit."""
    single: int = 20_000
    """Shards of the second way, whose rate and memory do not depend on their number."""
    together: int = 16
    """Shards per task of the third way."""
    threads: int = 100
    """Threads of each of the two workers."""
    out: Path | None = None
    """File for the JSON report."""


def main(options: Options) -> dict:
    """All measurements."""
    ways = {
        "all_at_once": (options.shards, 0),
        "two_per_worker": (options.single, 1),
        "two_per_worker_batched": (options.shards, options.together),
    }
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder, "store"))
        request = ExtractRequest(
            dataset="bundled:photos", models=[MODEL], scales=["1x"], store=store, limit=1
        )
        extract(request)
        ticket = tasks.Ticket(asdict(request), "benchmark", folder)
        for way, (shards, together) in ways.items():
            found[way] = measured(ticket, shards, together, options.threads)
            print(way, found[way], file=sys.stderr, flush=True)
    return {
        **found,
        "under_way_at_a_time": 4 * options.threads,
        "machine": processors.machine(),
        "python": platform.python_version(),
        "distributed": distributed.__version__,
        "date": datetime.date.today().isoformat(),
    }


def measured(ticket: tasks.Ticket, shards: int, together: int, threads: int) -> dict[str, float]:
    """Seconds and the scheduler's memory; `together` 0 submits everything at once."""
    with cluster(threads) as (scheduler, address):
        options = EngineOptions(engine="dask", scheduler=address)
        with connect(options, lambda line: None) as session:
            assert session is not None
            session.client.wait_for_workers(2)
            session.client.run(tasks.prepare, ticket)  # imports and loading are done
            before = peak_mb(scheduler)
            start = time.perf_counter()
            if together:
                work = extraction._Work(session, ticket, lambda line: None, lambda: False)
                session.client.subscribe_topic(tasks.TOPIC, work.heard)
                missing = dict.fromkeys(range(shards), (1, 1))
                work.run(tasks.Prepared(missing=missing), together)
            else:
                each = [(k,) for k in range(shards)]
                distributed.wait(session.submit_all(tasks.compute, [ticket] * shards, each))
            seconds = time.perf_counter() - start
            return {
                "shards": shards,
                "shards_per_task": max(together, 1),
                "seconds": round(seconds, 1),
                "tasks_per_s": round(shards / max(together, 1) / seconds),
                "scheduler_mb_before": before,
                "scheduler_mb_most": peak_mb(scheduler),
            }


@contextlib.contextmanager
def cluster(threads: int) -> Iterator[tuple[int, str]]:
    """A scheduler (its process number and address) and two workers."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryDirectory()) + "/scheduler.json"
        common = ["--scheduler-file", file, "--no-dashboard"]
        worker = ["distributed.cli.dask_worker", "--nthreads", str(threads), "--no-nanny"]
        processes = []
        for command in (
            ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"],
            worker,
            worker,
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *common],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": LOG},
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            processes.append(process)
            while not Path(file).exists() or not Path(file).read_text():
                time.sleep(0.1)
        yield processes[0].pid, json.loads(Path(file).read_text())["address"]


def peak_mb(process: int) -> int:
    """Peak memory of a process, MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(round(int(s.split()[1]) / 1000) for s in lines if s.startswith("VmHWM:"))


if __name__ == "__main__":
    chosen = tyro.cli(Options)
    made = json.dumps(main(chosen), indent=1)
    print(made)
    if chosen.out:
        chosen.out.write_text(made + "\n")
