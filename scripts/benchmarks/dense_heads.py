"""A decoder's training step from stored tokens against the bare step, and memory against images.

    python scripts/benchmarks/dense_heads.py [--head vpd] [--hidden 128] [--steps 30]

Expected: 3 minutes on 2 cores, 1 GB of memory, 130 MB of temporary disk. Writes
results/dense_heads.json beside this file. Stored: the training loop with its reading, metrics and
last checkpoint, on stores of 100 and of 4,000 images. Bare: forward, backward and optimiser step of
the same decoder on batches in memory. Both in turn; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import feature_store
from workbench.cost.parallel import peak_mb
from workbench.heads.config import DecoderConfig
from workbench.heads.images import TokenImages, survey
from workbench.heads.registry import build
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.randomness import rows_of_step, seed_step
from workbench.training.trained import Trained

RESULTS = Path(__file__).parent / "results" / "dense_heads.json"
SOURCE = "toy:lite#blocks@224"
GRID, CHANNELS, PIXELS, BATCH, ROUNDS = 7, 320, 224, 8, 3


class Depth:
    """Smooth random maps, made when read as files would be."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> np.ndarray:
        small = np.random.default_rng(row).uniform(1, 5, (7, 7)).astype(np.float32)
        return np.kron(small, np.ones((PIXELS // 7, PIXELS // 7), np.float32))


def store_of(folder: Path, count: int) -> feature_store.FeatureStore:
    ids = [f"{k:05d}" for k in range(count)]
    store = feature_store.create(folder, dataset="toy:random", image_ids=ids, shard_images=256)
    writer = store.add_source(
        SOURCE, manifest={"model": SOURCE}, grid=(GRID, GRID), channels=CHANNELS, dtype="float16"
    )
    for shard in writer.missing():
        size = (len(writer.rows(shard)), GRID, GRID, CHANNELS)
        writer.commit(shard, np.random.default_rng(shard).normal(size=size).astype("f4"), None, {})
    return feature_store.open(folder)


def measured(path: str, count: int, decoder: DecoderConfig, steps: int) -> dict[str, float]:
    """Seconds per step of both, and the peak memory of this process in MiB."""
    images = TokenImages(feature_store.open(path), SOURCE, "concat", Depth(count))
    found = survey(images)

    def fresh():
        seed_step(0, 0)
        head = build(decoder, found)
        return head, torch.optim.AdamW(head.parameters())

    def read(step: int):
        return images.batch(found.rows[rows_of_step(step, count=count, batch=BATCH, seed=0)])

    def stored() -> float:
        head, optimizer = fresh()
        trained = Trained(
            model=head, optimizer=optimizer, read=read, loss=lambda b: (head.loss(*b), {})
        )
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            config = TrainingConfig(iterations=steps, checkpoint_every=steps)
            train(trained, Path(folder), config, identity={}, seed=0, log=print)
            return (time.perf_counter() - start) / steps

    def bare() -> float:
        head, optimizer = fresh()
        batches = [read(step) for step in range(1, 5)]
        start = time.perf_counter()
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            head.loss(*batches[step % len(batches)]).backward()
            optimizer.step()
        return (time.perf_counter() - start) / steps

    rounds = [(stored(), bare()) for _ in range(ROUNDS)]
    return {
        "images": count,
        "seconds_stored": statistics.median(a for a, _ in rounds),
        "seconds_bare": statistics.median(b for _, b in rounds),
        "stored_over_bare": statistics.median(a / b for a, b in rounds),
        "peak_mb": peak_mb(torch.device("cpu")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--head", default="vpd")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    decoder = DecoderConfig(head=asked.head, hidden=asked.hidden, batch=BATCH)
    torch.set_num_threads(1)
    if asked.one:
        print(json.dumps(measured(asked.one[0], int(asked.one[1]), decoder, asked.steps)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (100, 4000):
            path = Path(folder, str(count))
            store_of(path, count)
            options = ["--head", asked.head, "--hidden", str(asked.hidden)]
            options += ["--steps", str(asked.steps), "--one", str(path), str(count)]
            done = subprocess.run(
                [sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    found = {
        "date": str(datetime.date.today()),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "torch": importlib.metadata.version("torch"),
        "head": asked.head,
        "hidden": asked.hidden,
        "batch": BATCH,
        "rows": rows,
        "load_average_at_end": os.getloadavg()[0],
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
