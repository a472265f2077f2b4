"""Exact reconstruction against Adam, the bare products, scikit-learn's Ridge; and its memory.

    python scripts/benchmarks/reconstruction.py --store runs/bench.zarr \
        --source bundled:efficientnet_lite0#head@224 --target bundled:efficientnet_lite1#head@224

Expected: 5 to 15 minutes on 2 cores (Adam takes nearly all of it), 2 GB of memory, 0.7 GB of disk
for the memory part. Writes results/reconstruction.json beside this file. Times on a shared machine
vary; the ratios, whose two sides ran in turn within one run, are what to read.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import feature_store
from analyses.linear import from_moments
from analyses.moments.accumulate import PANEL, Accumulator
from analyses.moments.one_pass import from_batches
from analyses.moments.second_moments import MomentsConfig
from workbench import processors

RESULTS = Path(__file__).parent / "results" / "reconstruction.json"
LEARNING_RATE, BATCH = 5e-4, 512  # the S2 paper's probe settings
REPEATS = 5


def main() -> None:
    arguments = parse()
    if arguments.memory_child:
        return memory_child(arguments.memory_child)
    found = {"date": str(datetime.date.today()), "machine": machine(), "versions": versions()}
    if arguments.only and RESULTS.exists():
        found = json.loads(RESULTS.read_text(encoding="utf-8")) | {"machine": machine()}
    wanted = arguments.only or ("floor", "scikit_learn", "adam", "memory")
    if arguments.store:
        store = feature_store.open(arguments.store)
        names = [str(store.resolve(n)) for n in (arguments.source, arguments.target)]
        x, y = (tokens(store, name) for name in names)
        found["features"] = {
            "dataset": store.dataset,
            "source": names[0],
            "target": names[1],
            "tokens": len(x),
            "channels": [x.shape[1], y.shape[1]],
        }
        if "floor" in wanted:
            found["floor"] = against_floor(x, y)
        if "scikit_learn" in wanted:
            found["scikit_learn"] = against_scikit_learn(store, names, x, y)
        if "adam" in wanted:
            found["adam"] = against_adam(store, names, x, y, arguments.adam_seconds)
    if "memory" in wanted:
        found["memory"] = memory()
    found["load_average_at_end"] = os.getloadavg()[0]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", help="store with source and target; without it: memory only")
    parser.add_argument("--source")
    parser.add_argument("--target")
    parser.add_argument("--adam-seconds", type=float, default=900.0)
    parser.add_argument("--only", nargs="+", help="parts to measure again, the rest is kept")
    parser.add_argument("--memory-child", help=argparse.SUPPRESS)
    return parser.parse_args()


def machine() -> dict:
    return {
        **processors.machine(),
        "torch_threads": torch.get_num_threads(),
        "load_average_at_start": os.getloadavg()[0],
    }


def versions() -> dict:
    names = ("torch", "numpy", "scikit-learn", "zarr", "xarray")
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


def tokens(store, name: str) -> np.ndarray:
    """All tokens of a source in memory: float16, dims (token, channel)."""
    return np.concatenate(
        [b.tokens[name].reshape(-1, b.tokens[name].shape[3]) for b in store.stream([name])]
    )


def alternate(*tasks: Callable[[], object]) -> list[float]:
    """Shortest time of each task over repeats, in turn, so that all see the same machine."""
    times = [[] for _ in tasks]
    for _ in range(REPEATS):
        for task, measured in zip(tasks, times, strict=True):
            start = time.perf_counter()
            task()
            measured.append(time.perf_counter() - start)
    return [min(measured) for measured in times]


def against_floor(x: np.ndarray, y: np.ndarray) -> dict:
    """Building all moments of the joint tokens against the bare float32 products."""
    joint = {"x": x.reshape(1000, -1, 1, x.shape[1]), "y": y.reshape(1000, -1, 1, y.shape[1])}
    ready = torch.from_numpy(np.concatenate([x, y], 1)).float()
    width, size = ready.shape[1], MomentsConfig().block_tokens

    def moments() -> None:
        accumulator = Accumulator({"x": x.shape[1], "y": y.shape[1]})
        for at in range(0, 1000, 250):
            rows = np.arange(at, at + 250)
            accumulator.update({n: t[rows] for n, t in joint.items()}, rows)
        accumulator.result()

    def full() -> None:
        for at in range(0, len(ready), size):
            ready[at : at + size].T @ ready[at : at + size]

    def triangle() -> None:
        for at in range(0, len(ready), size):
            z = ready[at : at + size]
            for i in range(0, width, PANEL):
                z[:, i : i + PANEL].T @ z[:, i:]

    made, bare, half = alternate(moments, full, triangle)
    return {
        "moments_s": made,
        "bare_product_s": bare,
        "bare_triangle_s": half,
        "moments_over_bare_product": made / bare,
        "moments_over_bare_triangle": made / half,
    }


def exact(store, names: list[str]) -> tuple[from_moments.Solution, from_moments.Solution]:
    """From the store to the maps: moments, ridge path over 5 folds, ridge map, least squares."""
    config = MomentsConfig(targets=(names[1],))
    moments = from_batches(store.stream(names), names, config)
    chosen = from_moments.cross_validate(moments, names[:1], names[1:]).best
    return (
        from_moments.solve(moments, names[:1], names[1:], chosen),
        from_moments.solve(moments, names[:1], names[1:], 0),
    )


def against_scikit_learn(store, names: list[str], x: np.ndarray, y: np.ndarray) -> dict:
    """One ridge map from float32 arrays in memory; ours also from the float16 store."""
    from sklearn.linear_model import Ridge

    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    alpha = 1e-3 * len(x) * float(x32.var(axis=0).mean())

    config = MomentsConfig(targets=(names[1],), folds=1)
    maps = {names[0]: x32[:, None, None], names[1]: y32[:, None, None]}

    def from_arrays() -> None:
        accumulator = Accumulator({n: m.shape[3] for n, m in maps.items()}, config)
        accumulator.update(maps)
        from_moments.solve(accumulator.result(), names[:1], names[1:], 1e-3)

    def from_store() -> None:
        from_moments.solve(
            from_batches(store.stream(names), names, config), names[:1], names[1:], 1e-3
        )

    made, read, theirs = alternate(
        from_arrays, from_store, lambda: Ridge(alpha=alpha).fit(x32, y32)
    )
    return {
        "exact_from_arrays_s": made,
        "exact_from_store_s": read,
        "ridge_fit_s": theirs,
        "exact_over_ridge": made / theirs,
        "exact_from_store_over_ridge": read / theirs,
    }


def against_adam(store, names: list[str], x: np.ndarray, y: np.ndarray, limit: float) -> dict:
    """Seconds until a linear layer trained with Adam is within 1 % of the least-squares loss.

    Adam's tokens wait in memory as float32; looking at its loss is not counted. The exact side
    counts reading the store, moments, the ridge path with cross-validation, and two solutions.
    """
    (seconds,) = alternate(lambda: exact(store, names))
    chosen, least = exact(store, names)
    optimum, null = float(least.residual.mean()), float(least.variance.mean())
    torch.manual_seed(0)
    inputs, goals = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    layer = torch.nn.Linear(x.shape[1], y.shape[1])
    adam = torch.optim.Adam(layer.parameters(), lr=LEARNING_RATE)
    spent, curve = 0.0, []
    while spent < limit:
        start = time.perf_counter()
        for rows in torch.randperm(len(inputs)).split(BATCH):
            adam.zero_grad(set_to_none=True)
            (layer(inputs[rows]) - goals[rows]).square().mean().backward()
            adam.step()
        spent += time.perf_counter() - start
        with torch.no_grad():
            loss = float((layer(inputs) - goals).square().mean())
        curve.append({"epoch": len(curve) + 1, "seconds": spent, "excess": loss / optimum - 1})
        print(json.dumps(curve[-1]), file=sys.stderr, flush=True)
        if loss <= 1.01 * optimum:
            break
    reached = curve[-1]["excess"] <= 0.01
    return {
        "exact_s": seconds,
        "optimal_loss": optimum,
        "null_loss": null,
        "ridge_chosen": chosen.ridge,
        "adam_s": spent,
        "adam_within_1_percent": reached,
        "adam_excess_at_end": curve[-1]["excess"],
        "adam_over_exact": spent / seconds,
        "at_least": not reached,
        "curve": curve[:: max(len(curve) // 20, 1)],
    }


def memory() -> dict:
    """Largest peak memory and shortest time of whole passes at 1,000 to 50,000 images."""
    sizes = (1_000, 5_000, 20_000, 50_000)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for images in sizes:
            path = Path(folder) / f"{images}.zarr"
            write_store(path, images)
            command = [sys.executable, __file__, "--memory-child", str(path)]
            tries = [
                json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                for _ in range(REPEATS)
            ]
            rows.append(
                {
                    "images": images,
                    "seconds": min(row["seconds"] for row in tries),
                    "peak_rss_mb": max(row["peak_rss_mb"] for row in tries),
                }
            )
    seconds = np.array([row["seconds"] for row in rows])
    slope, start = np.polyfit(sizes, seconds, 1)
    residual = seconds - (slope * np.array(sizes) + start)
    return {
        "channels": [64, 64],
        "grid": [7, 7],
        "rows": rows,
        "seconds_per_1000_images": 1000 * slope,
        "seconds_at_0_images": start,
        "r_squared_of_the_line": 1 - float((residual**2).sum() / seconds.var() / len(seconds)),
        "peak_rss_50k_over_1k": rows[-1]["peak_rss_mb"] / rows[0]["peak_rss_mb"],
    }


def write_store(path: Path, images: int) -> None:
    ids = [f"{i:06d}" for i in range(images)]
    store = feature_store.create(
        path, dataset="random:normal", image_ids=ids, labels=None, label_names=[], shard_images=250
    )
    rng = np.random.default_rng(0)
    for name in ("x#f@1", "y#f@1"):
        writer = store.add_source(
            name, manifest={"model": name}, grid=(7, 7), channels=64, prefix=0, dtype="float16"
        )
        for shard in writer.missing():
            shape = (len(writer.rows(shard)), 7, 7, 64)
            writer.commit(shard, rng.standard_normal(shape, np.float32), None, {})


def memory_child(path: str) -> None:
    store = feature_store.open(path)
    start = time.perf_counter()
    names = ["x#f@1", "y#f@1"]
    moments = from_batches(store.stream(names), names)
    from_moments.solve(moments, names[:1], names[1:], 0)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "peak_rss_mb": peak / 1024}))


if __name__ == "__main__":
    main()
