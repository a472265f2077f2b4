"""Memory of the linear probe from 2,000 to 50,000 images, and of 100,000 instance classes.

    python scripts/benchmarks/probe_memory.py

Expected: 7 minutes on 2 cores, nearly all of it for the instances, 1 GB of memory, 0.3 GB of disk
for a temporary store. Every figure comes from a process of its own. Writes
results/probe_memory.json beside this file.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import feature_store
from analyses.linear.logistic import HeadConfig, LogisticProblem
from analyses.memorization import MemorizationConfig, train
from analyses.reading.pooled import FeatureRows, pool
from workbench import processors

RESULTS = Path(__file__).parent / "results" / "probe_memory.json"
SOURCE = "toy:random#all@224"
INSTANCES, CHANNELS = 100_000, 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=("probe", "instances"), help="measure this part again")
    parser.add_argument("--probe-child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--instance-child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe_child:
        return probe_child(*arguments.probe_child)
    if arguments.instance_child:
        return instance_child()
    found = {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "versions": versions(),
    }
    if arguments.only and RESULTS.exists():
        found = json.loads(RESULTS.read_text(encoding="utf-8")) | found
    if arguments.only != "instances":
        found["probe"] = memory()
    if arguments.only != "probe":
        found["instances"] = in_child("--instance-child")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def in_child(*arguments: str) -> dict[str, float]:
    """Output of this script in a fresh process."""
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def memory() -> dict[str, dict[str, float]]:
    """Peak anonymous memory that a probe adds, in a fresh process, for 2 k and 50 k images."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (2_000, 25_000, 50_000):
            path = Path(folder, f"{count}.zarr")
            write_store(path, count)
            for megabytes in (0, 256):
                measured = in_child("--probe-child", str(path), str(megabytes))
                row = found.setdefault(f"rows kept in memory up to {megabytes} MB", {})
                for what, value in measured.items():
                    row[f"peak MB {what}, {count} images"] = value
    for row in found.values():
        row["process, 50 k over 2 k"] = (
            row["peak MB process, 50000 images"] / row["peak MB process, 2000 images"]
        )
    return found


def write_store(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    store = feature_store.create(
        path, dataset="toy:random", image_ids=[str(n) for n in range(count)],
        labels=np.arange(count) % 10, label_names=[str(n) for n in range(10)], shard_images=500,
    )  # fmt: skip
    writer = store.add_source(
        SOURCE, manifest={"model": "random"}, grid=(4, 4), channels=128, prefix=0, dtype="float16"
    )
    for shard in writer.missing():
        rows = writer.rows(shard)
        writer.commit(shard, rng.normal(size=(len(rows), 4, 4, 128)).astype(np.float32), None, {})


def probe_child(path: str, megabytes: str) -> None:
    """Pool and fit once; print how far anonymous memory rose above that after the imports."""
    warm = np.random.default_rng(0).normal(size=(50, 8))
    LogisticProblem(FeatureRows.of(warm), np.arange(50) % 2, 2).fit(l2=1.0)
    store = feature_store.open(path)
    with peak_memory() as found:
        pooled = pool(store, [SOURCE])
        config = HeadConfig(memory_mb=int(megabytes))
        problem = LogisticProblem(pooled.features(SOURCE), store.labels[pooled.rows], 10, config)
        problem.fit(l2=1e-2, tolerance=1e-4)
    print(json.dumps(found))


def instance_child() -> None:
    """Peak memory beside that of the weights with their gradient and Adam's two moments."""
    x = np.random.default_rng(0).standard_normal((1, INSTANCES, CHANNELS), np.float32)
    config = MemorizationConfig(epochs=1)
    train(x[:, :1000], config)
    start = time.perf_counter()
    with peak_memory() as found:
        train(x / np.float32(CHANNELS**0.5), config)
    weights = 4 * INSTANCES * (CHANNELS + 1) / 2**20
    print(
        json.dumps(
            {
                "instances": INSTANCES,
                "channels": CHANNELS,
                "batch": config.batch,
                "chunk": config.chunk,
                "seconds_per_epoch": time.perf_counter() - start,
                "peak MB added": found["added"],
                "MB of weights, gradient and Adam's moments": 4 * weights,
                "MB that all logits of a batch would take": 4 * INSTANCES * config.batch / 2**20,
                "MB that an instance by instance matrix would take": 4 * INSTANCES**2 / 2**20,
            }
        )
    )


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Fill in how far anonymous memory rises inside (``added``) and its peak (``process``), MB."""
    found: dict[str, float] = {}
    peak, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak.append(anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
    found |= {"added": (max(peak) - peak[0]) / 2**10, "process": max(peak) / 2**10}


def anonymous() -> int:
    """Anonymous memory of this process in KiB (the kernel can drop mapped files)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def versions() -> dict[str, str]:
    names = ["torch", "numpy", "zarr"]
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


if __name__ == "__main__":
    main()
