"""Training steps of the decoders: from stored tokens against bare ones, and at the default sizes.

    python scripts/benchmarks/dense_heads.py [--part ratio defaults] [--head vpd] [--steps 30]

Expected: 5 minutes on 2 cores, 1 GB of memory, 130 MB of temporary disk. Writes the parts that are
asked for into results/dense_heads.json beside this file.

ratio     Stored: the training loop with its reading, metrics and last checkpoint, on stores of 100
          and of 4,000 images. Bare: forward, backward and optimiser step of the same decoder on
          batches in memory. One thread; both in turn, and the median of the rounds counts.
defaults  The training loop of every decoder at its default size, on 7 x 7 tokens of two scales of
          EfficientNet-Lite0, with all cores: seconds of a step, minutes of the default steps.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import feature_store
from workbench import processors
from workbench.cost.parallel import peak_mb
from workbench.heads.config import TASKS, DecoderConfig
from workbench.heads.images import TokenImages, survey
from workbench.heads.options import STEPS
from workbench.heads.registry import build
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.randomness import rows_of_step, seed_step
from workbench.training.trained import Trained

RESULTS = Path(__file__).parent / "results" / "dense_heads.json"
SOURCE = "toy:lite#blocks@224"
GRID, CHANNELS, PIXELS, BATCH, ROUNDS = 7, 320, 224, 8, 3
SCALES, CLASSES = 2, 11
"""Of the defaults; CamVid has 11 classes."""
PARTS = ("ratio", "defaults")


class Maps:
    """Random blocks of depth, or of classes, made when read as files would be."""

    def __init__(self, count: int, task: str = "depth") -> None:
        self.count, self.task = count, task

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> np.ndarray:
        random = np.random.default_rng(row)
        small: np.ndarray
        if self.task == "depth":
            small = random.uniform(1, 5, (GRID, GRID)).astype(np.float32)
        else:
            small = random.integers(CLASSES, size=(GRID, GRID))
        return np.kron(small, np.ones((PIXELS // GRID, PIXELS // GRID), small.dtype))


def store_of(folder: Path, count: int, channels: int = CHANNELS) -> feature_store.FeatureStore:
    ids = [f"{k:05d}" for k in range(count)]
    store = feature_store.create(folder, dataset="toy:random", image_ids=ids, shard_images=256)
    writer = store.add_source(
        SOURCE, manifest={"model": SOURCE}, grid=(GRID, GRID), channels=channels, dtype="float16"
    )
    for shard in writer.missing():
        size = (len(writer.rows(shard)), GRID, GRID, channels)
        writer.commit(shard, np.random.default_rng(shard).normal(size=size).astype("f4"), None, {})
    return feature_store.open(folder)


class Steps:
    """Training steps of a decoder on the images of a store."""

    def __init__(self, images: TokenImages, decoder: DecoderConfig) -> None:
        self.images, self.decoder = images, decoder
        self.found = survey(images)

    def fresh(self):
        seed_step(0, 0)
        head = build(self.decoder, self.found)
        return head, torch.optim.AdamW(head.parameters())

    def read(self, step: int):
        count = len(self.found.rows)
        rows = rows_of_step(step, count=count, batch=self.decoder.batch, seed=0)
        return self.images.batch(self.found.rows[rows])

    def stored(self, steps: int) -> float:
        """Seconds per step of the training loop."""
        head, optimizer = self.fresh()
        trained = Trained(
            model=head, optimizer=optimizer, read=self.read, loss=lambda b: (head.loss(*b), {})
        )
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            config = TrainingConfig(iterations=steps, checkpoint_every=steps)
            train(trained, Path(folder), config, identity={}, seed=0, log=print)
            return (time.perf_counter() - start) / steps

    def bare(self, steps: int) -> float:
        """Seconds per forward, backward and optimiser step on batches in memory."""
        head, optimizer = self.fresh()
        batches = [self.read(step) for step in range(1, 5)]
        start = time.perf_counter()
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            head.loss(*batches[step % len(batches)]).backward()
            optimizer.step()
        return (time.perf_counter() - start) / steps


def ratio(path: str, count: int, decoder: DecoderConfig, steps: int) -> dict[str, float]:
    """Seconds per step of both, on one thread, and the peak memory of this process in MB."""
    torch.set_num_threads(1)
    images = TokenImages(feature_store.open(path), SOURCE, "concat", Maps(count))
    timed = Steps(images, decoder)
    rounds = [(timed.stored(steps), timed.bare(steps)) for _ in range(ROUNDS)]
    return {
        "images": count,
        "seconds_stored": statistics.median(a for a, _ in rounds),
        "seconds_bare": statistics.median(b for _, b in rounds),
        "stored_over_bare": statistics.median(a / b for a, b in rounds),
        "peak_mb": peak_mb(torch.device("cpu")),
    }


def defaults(steps: int) -> list[dict]:
    """Seconds per step of every decoder at its default size, and minutes of its default steps."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(Path(folder), 100, SCALES * CHANNELS)
        for task, heads in TASKS.items():
            for head in heads[1:]:
                decoder = DecoderConfig(head=head)
                images = TokenImages(store, SOURCE, "concat", Maps(100, task))
                seconds = Steps(images, decoder).stored(steps)
                rows.append(
                    {
                        "head": head,
                        "hidden": decoder.hidden,
                        "batch": decoder.batch,
                        "seconds_per_step": seconds,
                        "iterations": STEPS,
                        "minutes": STEPS * seconds / 60,
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--head", default="vpd")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    decoder = DecoderConfig(head=asked.head, hidden=asked.hidden, batch=BATCH)
    if asked.one:
        print(json.dumps(ratio(asked.one[0], int(asked.one[1]), decoder, asked.steps)))
        return
    record = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for part in asked.part:
        found = ratios(asked) if part == "ratio" else {"rows": defaults(asked.steps)}
        record[part] = {
            "date": str(datetime.date.today()),
            "machine": processors.machine(),
            "torch": importlib.metadata.version("torch"),
            "load_average_at_end": os.getloadavg()[0],
            "steps": asked.steps,
            **found,
        }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def ratios(asked: argparse.Namespace) -> dict:
    """Both sizes of store, each in a process of its own."""
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
    return {"head": asked.head, "hidden": asked.hidden, "batch": BATCH, "rows": rows}


if __name__ == "__main__":
    main()
