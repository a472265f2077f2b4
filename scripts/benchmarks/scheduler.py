"""What a scheduler does with 100,000 shards: time and memory, by how they are handed out.

    python scripts/benchmarks/scheduler.py --out scripts/benchmarks/results/scheduler.json

Over 7 minutes, 1 GB of memory. A Dask scheduler and two workers in processes of their own; tasks
do nothing. Three ways: all tasks submitted at once, as a plain ``client.map`` does; two per worker
at a time, as an extraction does (its own loop runs here); and the latter with 16 shards to a task.
The scheduler is a new one each time; its memory is the most that it ever held.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import distributed
import tyro

import feature_store
from workbench.cluster import EngineOptions, extraction, tasks
from workbench.cluster.engine import connect
from workbench.cluster.session import Session


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run."""

    shards: int = 100_000
    """Shards that are handed out."""
    single: int = 20_000
    """Shards of the second way, whose time per task does not depend on their number."""
    together: int = 16
    """Shards per task of the third way."""
    out: Path | None = None
    """File for the JSON report."""


class Idle(Session):
    """Tasks answer at once that their shards are done."""

    def submit(self, function, *arguments):
        return self.client.submit(tasks.Done, arguments[-1], pure=False)


def main(options: Options) -> dict:
    """All measurements."""
    ways = {
        "all_at_once": (options.shards, 0),
        "two_per_worker": (options.single, 1),
        "two_per_worker_batched": (options.shards, options.together),
    }
    return {
        **{way: measured(*shares) for way, shares in ways.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "distributed": distributed.__version__,
        "date": datetime.date.today().isoformat(),
    }


def measured(shards: int, together: int) -> dict[str, float]:
    """Seconds and the scheduler's memory; `together` 0 submits everything at once."""
    with cluster() as (scheduler, address):
        options = EngineOptions(engine="dask", scheduler=address)
        with connect(options, lambda line: None) as session:
            assert session is not None
            session.client.wait_for_workers(2)
            session.client.run(tasks.own_name)  # imports are over
            before = peak_mb(scheduler)
            start = time.perf_counter()
            if together:
                hand_out(Idle(session.client, lambda workers: None), shards, together)
            else:
                futures = session.client.map(tasks.Done, [(k,) for k in range(shards)], pure=False)
                distributed.wait(futures)
            seconds = time.perf_counter() - start
            return {
                "shards": shards,
                "shards_per_task": max(together, 1),
                "seconds": round(seconds, 1),
                "tasks_per_s": round(shards / max(together, 1) / seconds),
                "scheduler_mb_before": before,
                "scheduler_mb_most": peak_mb(scheduler),
            }


def hand_out(session: Session, shards: int, together: int) -> None:
    """The loop of an extraction over so many missing shards, on a store of one image."""
    with tempfile.TemporaryDirectory() as folder:
        feature_store.create(Path(folder, "s"), dataset="none", image_ids=["0"])
        ticket = tasks.Ticket({"store": str(Path(folder, "s"))}, "benchmark", folder)
        work = extraction._Work(session, ticket, lambda line: None, lambda: False)
        work.run(tasks.Prepared(missing=dict.fromkeys(range(shards), (1, 1))), together)


@contextlib.contextmanager
def cluster() -> Iterator[tuple[int, str]]:
    """A scheduler (its process number and address) and two workers with one thread each."""
    dask = [sys.executable, "-m"]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryDirectory()) + "/scheduler.json"
        common = ["--scheduler-file", file, "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        commands = [
            [
                *dask,
                "distributed.cli.dask_scheduler",
                *common,
                "--host",
                "127.0.0.1",
                "--port",
                "0",
            ],
            *[
                [*dask, "distributed.cli.dask_worker", *common, "--nthreads", "1", "--no-nanny"]
                for _ in range(2)
            ],
        ]
        processes = []
        for command in commands:
            processes.append(subprocess.Popen(command, **quiet))
            stack.callback(processes[-1].wait)
            stack.callback(processes[-1].terminate)
            while not Path(file).exists() or not Path(file).read_text():
                time.sleep(0.1)
        yield processes[0].pid, json.loads(Path(file).read_text())["address"]


def peak_mb(process: int) -> int:
    """The most memory that a process has held, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1000)


if __name__ == "__main__":
    chosen = tyro.cli(Options)
    made = json.dumps(main(chosen), indent=1)
    print(made)
    if chosen.out:
        chosen.out.write_text(made + "\n")
