"""A training step from cached tokens: three scales against one, and against encoding every time.

    python scripts/benchmarks/multimodal.py [--steps 6] [--rounds 3] [--part steps]

Expected: 20 minutes on 2 cores, 3 GB of memory, 2 GB of temporary disk. Writes
results/multimodal.json beside this file; parts that are not asked for stay.

Steps: SmolLM2-135M with adapters of rank 16 on frozen Lite0 tokens, batches of 8 images with 3
questions each, through the training loop with its reading and metrics. "encoded" runs Lite0 at 224,
448 and 672 pixels (14 crops an image) in every step, as LLaVA does. Projector: mlp2x_gelu forward
and backward on 576 tokens of 3072 channels, every image of a store of 64 and of 512 read once by
the training loop, against the same steps on tokens in memory; peak memory of a process of its own.
Loading: the language model, unpacked from GGUF the first time. Arithmetic: products of the language
model's own size, one thread, in float32 and in bfloat16.
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
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import feature_store
from workbench import processors
from workbench.cost.parallel import peak_mb
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.request import StreamConfig
from workbench.extraction.streaming import Running
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.trained import Trained
from workbench.vlm.config import VlmConfig
from workbench.vlm.fit import fit
from workbench.vlm.language import load
from workbench.vlm.projector import Projector
from workbench.vlm.questions import Question
from workbench.vlm.vision import Images, StoredVision, open_images

RESULTS = Path(__file__).parent / "results" / "multimodal.json"
LITE = "bundled:efficientnet_lite0"
ONE, THREE = f"{LITE}@224", f"{LITE}@224+448+672"
BATCH, TURNS = 8, 3
IMAGES_A_STEP = 4
"""Of the projector alone."""


def photographs(folder: Path, count: int) -> None:
    folder.mkdir()
    for k in range(count):
        small = np.random.default_rng(k).integers(0, 256, (42, 42, 3), dtype=np.uint8)
        Image.fromarray(small).resize((672, 672)).save(folder / f"{k:04d}.jpg")


def seconds_of_step(images: Images, source: str, cache: Path, steps: int) -> float:
    count = steps * BATCH
    asked = [
        Question(image=str(image), question=f"What colour is shape {n}?", answer="blue")
        for image in images.image_ids[:count]
        for n in range(TURNS)
    ]
    config = VlmConfig(stage="lora", batch=BATCH)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        run = Path(folder, "run")
        (Path(folder) / ".language_models").symlink_to(cache / ".language_models")
        found = fit(images, source, asked, config, seed=0, folder=run, log=print)
    return found.outcome.seconds / found.outcome.step


def steps(folder: Path, count: int, rounds: int) -> dict:
    photographs(folder / "photographs", count * BATCH)
    load("bundled:smollm2_135m", folder / ".language_models", torch.float32, print)  # unpacks once
    dataset = f"folder:{folder / 'photographs'}"
    request = ExtractRequest(
        dataset=dataset, models=[LITE], scales=["224", "448", "672"],
        store=str(folder / "s.zarr"), fit="pad",
    )  # fmt: skip
    start = time.perf_counter()
    extract(request)
    once = time.perf_counter() - start
    store = feature_store.open(str(folder / "s.zarr"))
    live = open_images(dataset, Running(StreamConfig(fit="pad"), log=lambda line: None))
    found: dict[str, list[float]] = {"single": [], "cached": [], "encoded": []}
    for _ in range(rounds):
        found["single"].append(seconds_of_step(store, ONE, folder, count))
        found["cached"].append(seconds_of_step(store, THREE, folder, count))
        found["encoded"].append(seconds_of_step(live, THREE, folder, count))
    pairs = list(zip(*found.values(), strict=True))
    return {
        "seconds_a_step": {name: statistics.median(values) for name, values in found.items()},
        "cached_over_single": statistics.median(b / a for a, b, _ in pairs),
        "encoded_over_cached": statistics.median(c / b for _, b, c in pairs),
        "seconds_of_encoding_once": once,
        "images": count * BATCH,
        "batch": BATCH,
        "questions_an_image": TURNS,
    }


def projector(images: int) -> dict:
    """Seconds a step from the store and from memory, in turn, and the peak memory in MiB.

    Every image is read once in a round. Needs a process of its own.
    """
    torch.set_num_threads(1)
    source = "toy:large#b@336"
    with tempfile.TemporaryDirectory() as folder:
        store = feature_store.create(
            f"{folder}/s.zarr", dataset="toy:random", image_ids=[f"{k}" for k in range(images)],
            shard_images=16,
        )  # fmt: skip
        writer = store.add_source(
            source, manifest={"model": source}, grid=(24, 24), channels=3072, dtype="float16"
        )
        values = np.random.default_rng(0).normal(size=(16, 24, 24, 3072)).astype(np.float32)
        for shard in writer.missing():
            writer.commit(shard, values[: len(writer.rows(shard))], None, {})
        del values
        vision = StoredVision(feature_store.open(f"{folder}/s.zarr"), source)
        order = np.random.default_rng(1).permutation(images).reshape(-1, IMAGES_A_STEP)
        kept = vision(order[0])
        rounds = [
            (
                seconds_of_projector(lambda step: vision(order[step - 1]), len(order)),
                seconds_of_projector(lambda step: kept, len(order)),
            )
            for _ in range(2)
        ]
    return {
        "images_read": images,
        "seconds_a_step": statistics.median(stored for stored, _ in rounds),
        "stored_over_memory": statistics.median(stored / kept for stored, kept in rounds),
        "peak_mib": peak_mb(torch.device("cpu")) * 1e6 / 2**20,
    }


def seconds_of_projector(read: Callable[[int], torch.Tensor], count: int) -> float:
    """A step of the projector alone in the training loop, which reads one step ahead."""
    model = Projector("mlp2x_gelu", 3072, 576)
    trained = Trained(
        model=model, optimizer=torch.optim.AdamW(model.parameters()), read=read,
        loss=lambda tokens: (model(tokens).square().mean(), {}),
    )  # fmt: skip
    config = TrainingConfig(iterations=count, checkpoint_every=count)
    with tempfile.TemporaryDirectory() as folder:
        done = train(trained, Path(folder), config, identity={}, seed=0, log=print)
    return done.seconds / done.step


def projectors() -> list[dict]:
    """The projector with few and with many images."""
    return [
        json.loads(
            subprocess.run(
                [sys.executable, __file__, "--projector", str(images)],
                stdout=subprocess.PIPE, text=True, check=True,
            ).stdout.splitlines()[-1]
        )
        for images in (64, 512)
    ]  # fmt: skip


def loading(folder: Path) -> dict:
    """Seconds until the language model is in memory, the first time and later."""
    found = {}
    for name in ("first", "later"):
        start = time.perf_counter()
        load("bundled:smollm2_135m", folder / ".language_models", torch.float32, print)
        found[name] = time.perf_counter() - start
    return found


def arithmetic(rounds: int) -> dict:
    """GFLOP/s of the widest product of a layer, 1,024 tokens, and how they compare."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    speeds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(rounds):
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            tokens, weights = (torch.randn(size).to(dtype) for size in ((1024, 576), (576, 1536)))
            tokens @ weights
            start = time.perf_counter()
            for _ in range(5):
                tokens @ weights
            seconds = (time.perf_counter() - start) / 5
            speeds[name].append(2 * 1024 * 576 * 1536 / seconds / 1e9)
    torch.set_num_threads(threads)
    ratios = [fast / slow for fast, slow in zip(*speeds.values(), strict=True)]
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gflop_per_s": {name: statistics.median(values) for name, values in speeds.items()},
        "fp32_over_bf16": statistics.median(ratios),
    }


PARTS = ("arithmetic", "loading", "projector", "steps")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--projector", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.projector:
        print(json.dumps(projector(asked.projector)))
        return
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for part in asked.part:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            measured = {
                "arithmetic": lambda: arithmetic(asked.rounds),
                "loading": lambda folder=folder: loading(folder),
                "projector": lambda: {"rows": projectors()},
                "steps": lambda folder=folder: steps(folder, asked.steps, asked.rounds),
            }
            found[part] = about() | measured[part]()
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(json.dumps({part: found[part]}, indent=1))


def about() -> dict:
    """Date, machine, versions, and the load before a part."""
    return {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "load_average_before": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
