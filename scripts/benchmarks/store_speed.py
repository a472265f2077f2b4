"""Speed and memory of the feature store: ratios against plain numpy within one run.

    python scripts/benchmarks/store_speed.py --out scripts/benchmarks/results/store_speed.json

About 4 minutes, 2 GB of memory, 3 GB of disk. Measures sequential read through the store's stream
against ``numpy.fromfile`` over the same shard files (warm page cache, in turn), write against
``numpy.save`` (with and without flushing to the disk), chunk layouts, opening and status of a store
with 50 sources of 1,000 shards, and peak memory of streaming as the number of images grows.
"""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
import xarray
import zarr

import feature_store
from feature_store import protocol
from feature_store.casting import CastStatistics
from workbench import processors

GRID, CHANNELS = (14, 14), 768  # ViT-B/16 at 224
SOURCE = "timm:vit_base#final@224"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    images: int = 2048
    """Images of the read and write test; 0.3 MB each in float16."""
    repeats: int = 5
    """Repeats; medians are reported."""
    out: Path | None = None
    """File for the JSON report."""


def main(options: Options) -> dict:
    """All measurements."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root = Path(folder)
        report = {
            "read": read(root, options),
            "write": write(root, options),
            "shard_images": shard_sizes(root, options),
            "many_sources": many_sources(root),
            "peak_memory_mb": memory(root),
        }
    return report | {
        "machine": processors.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "zarr": zarr.__version__,
        "xarray": xarray.__version__,
        "date": datetime.date.today().isoformat(),
    }


def filled(path: Path, images: int, shard_images: int = 256, layout: str = "raw") -> None:
    """A store of random float16 tokens."""
    rng = np.random.default_rng(0)
    store = feature_store.create(
        path,
        dataset="random",
        image_ids=[str(k) for k in range(images)],
        shard_images=shard_images,
    )
    writer = store.add_source(SOURCE, manifest={}, grid=GRID, channels=CHANNELS, layout=layout)
    block = rng.standard_normal((shard_images, *GRID, CHANNELS), dtype=np.float32)
    for shard in writer.missing():
        writer.commit(shard, block[: len(writer.rows(shard))] + shard)


def read(root: Path, options: Options) -> dict:
    """GB/s of a full sequential pass, first pass of a process (checksums verified) and later."""
    filled(root / "read", options.images)
    files = sorted((root / "read").glob("features/*/*/*/tokens/c.*"))
    size = sum(f.stat().st_size for f in files)

    def plain() -> None:
        for file in files:
            np.fromfile(file, dtype=np.float16)

    def touch(store: feature_store.FeatureStore) -> None:
        for batch in store.stream([SOURCE]):
            batch.tokens[SOURCE].copy()  # like fromfile: values in newly allocated memory

    plain()
    warm = feature_store.open(root / "read")
    touch(warm)
    seconds = in_turn(
        {
            "numpy.fromfile": plain,
            "stream, first touch (checksums)": lambda: touch(feature_store.open(root / "read")),
            "stream, checked before": lambda: touch(warm),
        },
        options.repeats,
    )
    return summary(seconds, size, "numpy.fromfile")


def write(root: Path, options: Options) -> dict:
    """GB/s of writing float16 tokens from memory as one file per shard."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal((256, *GRID, CHANNELS), dtype=np.float32)
    half = block.astype(np.float16)
    counted = CastStatistics()  # the caller casts and counts, as the extractor does on its device
    counted.add(block, half)
    shards = options.images // 256
    counter = iter(range(10**6))

    def ours() -> None:
        path = root / f"write-{next(counter)}"
        store = feature_store.create(
            path, dataset="random", image_ids=[str(k) for k in range(options.images)]
        )
        writer = store.add_source(SOURCE, manifest={}, grid=GRID, channels=CHANNELS)
        for shard in range(shards):
            writer.commit(shard, half, statistics=counted)

    def numpy_save(flush: bool) -> None:
        folder = root / f"save-{next(counter)}"
        folder.mkdir()
        for shard in range(shards):
            with (folder / f"{shard}.npy").open("wb") as handle:
                np.save(handle, half)
                if flush:
                    handle.flush()
                    os.fsync(handle.fileno())

    seconds = in_turn(
        {
            "numpy.save": lambda: numpy_save(False),
            "numpy.save and fsync": lambda: numpy_save(True),
            "commit": ours,
        },
        options.repeats,
    )
    found = summary(seconds, half.nbytes * shards, "numpy.save")
    found["commit"]["ratio_to_numpy_save_and_fsync"] = round(
        statistics.median(seconds["numpy.save and fsync"]) / statistics.median(seconds["commit"]), 3
    )
    return found


def shard_sizes(root: Path, options: Options) -> dict:
    """GB/s of a verified sequential pass for some shard sizes and both layouts."""
    table = {}
    for layout in ("raw", "packed"):
        for images in (64, 256, 1024):
            path = root / f"{layout}-{images}"
            filled(path, 1024, images, layout)
            size = 1024 * GRID[0] * GRID[1] * CHANNELS * 2
            seconds = in_turn(
                {"read": lambda p=path: [b.index for b in feature_store.open(p).stream([SOURCE])]},
                max(2, options.repeats // 2),
            )
            table[f"{layout}, {images} images per shard"] = summary(seconds, size, "read")["read"]
    return table


def many_sources(root: Path, sources: int = 50, shards: int = 1000) -> dict:
    """Seconds to open a store of many sources, and for the status of all of them."""
    store = feature_store.create(
        root / "many", dataset="random", image_ids=[str(k) for k in range(shards)], shard_images=1
    )
    value = np.ones((1, 1, 1, 1), np.float32)
    for k in range(sources):
        writer = store.add_source(f"toy:m#final@{k + 1}", manifest={}, grid=(1, 1), channels=1)
        record = writer.commit(0, value)
        for shard in range(1, shards):  # only records: status reads no data
            other = replace(record, shard=shard, start=shard, stop=shard + 1)
            key = Path(store.path) / protocol.record_key(writer.stored.group, shard)
            key.write_bytes(other.to_json())
    start = time.perf_counter()
    opened = feature_store.open(root / "many")
    names = opened.sources()
    open_seconds = time.perf_counter() - start
    entries = opened.source_status()
    total = time.perf_counter() - start
    assert len(names) == sources
    assert all(entry.complete for entry in entries)
    return {
        "sources": sources,
        "shards_each": shards,
        "open_s": round(open_seconds, 3),
        "status_s": round(total - open_seconds, 3),
    }


def memory(root: Path) -> dict:
    """Peak resident memory (MB) of streaming 1,000 to 50,000 small-map images, one process each."""
    peaks = {}
    context = multiprocessing.get_context("spawn")
    for images in (1_000, 10_000, 50_000):
        path = root / f"memory-{images}"
        rng = np.random.default_rng(0)
        store = feature_store.create(
            path, dataset="random", image_ids=[str(k) for k in range(images)]
        )
        writer = store.add_source(SOURCE, manifest={}, grid=(7, 7), channels=320)
        block = rng.standard_normal((256, 7, 7, 320), dtype=np.float32)
        for shard in writer.missing():
            writer.commit(shard, block[: len(writer.rows(shard))])
        with context.Pool(1) as pool:
            peaks[str(images)] = round(pool.apply(peak_of_stream, (str(path),)), 1)
    return peaks


def peak_of_stream(path: str) -> float:
    """Peak resident MB of a process that streams the store, mapped shards included."""
    for batch in feature_store.open(path).stream([SOURCE]):
        batch.tokens[SOURCE].astype(np.float32).sum()
    with Path("/proc/self/status").open() as lines:  # ru_maxrss would inherit the parent's peak
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def in_turn(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each task; they run in turn, so that a drift of the machine affects all."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, function in work.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: dict[str, list[float]], size: int, base: str) -> dict:
    """Median GB/s and the ratio of speeds to the base."""
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        name: {
            "gb_per_s": round(size / value / 1e9, 3),
            f"ratio_to_{base}": round(middle[base] / value, 3),
        }
        for name, value in middle.items()
    }


if __name__ == "__main__":
    asked = tyro.cli(Options)
    text = json.dumps(main(asked), indent=1)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(text)
