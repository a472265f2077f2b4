"""What the Dask engine costs, and what a second worker brings.

    python scripts/benchmarks/engine.py --out scripts/benchmarks/results/engine.json

About 5 minutes on 2 cores, 2 GB of memory, 1 GB of disk. EfficientNet-Lite0 at 224 pixels over the
bundled textiles in shards of the size given, one thread per process: in this process, on one Dask
worker, and on two. Times are of the pass over the images: workers have started and imported their
libraries, the loading of the second one's model is included. Stores are new each time and compared
to the byte. Goals: two workers at least 1.7 times as fast as one; one worker at most 5 % slower
than this process.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import distributed
import torch
import tyro

from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.cluster.extraction import extract_on
from workbench.extraction import ExtractRequest, extract


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run."""

    images: int = 768
    """Images of each pass."""
    shard_images: int = 128
    """Images per shard."""
    repeats: int = 2
    """Rounds; every round runs the three ways in turn, medians are reported."""
    out: Path | None = None
    """File for the JSON report."""


def main(options: Options) -> dict:
    """All measurements."""
    torch.set_num_threads(1)  # as Dask's workers have it
    seconds: dict[str, list[float]] = {"in_process": [], "one_worker": [], "two_workers": []}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for _ in range(options.repeats):
            stores = {way: Path(folder, way) for way in seconds}
            seconds["in_process"].append(extract(request(stores["in_process"], options)).seconds)
            for way, processes in (("one_worker", 1), ("two_workers", 2)):
                with connect(EngineOptions(engine="dask", processes=processes)) as session:
                    warm = replace(request(Path(folder, f"warm {way}"), options), limit=32)
                    extract_on(session, replace(warm, shard_images=4))  # workers import torch
                    shutil.rmtree(warm.store)
                    report = extract_on(session, request(stores[way], options))
                seconds[way].append(report.seconds)
                assert chunks(stores[way]) == chunks(stores["in_process"])
            for store in stores.values():
                shutil.rmtree(store)
    middle = {way: statistics.median(found) for way, found in seconds.items()}
    return {
        "images": options.images,
        "shard_images": options.shard_images,
        "model": "bundled:efficientnet_lite0@224, one thread per process",
        "seconds": {way: [round(s, 2) for s in found] for way, found in seconds.items()},
        "images_per_s": {way: round(options.images / s, 1) for way, s in middle.items()},
        "two_workers_over_one": round(middle["one_worker"] / middle["two_workers"], 3),
        "overhead_of_engine": round(middle["one_worker"] / middle["in_process"] - 1, 4),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "distributed": distributed.__version__,
        "date": datetime.date.today().isoformat(),
    }


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
