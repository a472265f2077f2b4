"""A training step of `workbench pretrain` against a bare timm step; memory; speed of the data.

    python scripts/benchmarks/pretraining.py [--model timm:vit_small_patch16_224] [--batch 4]
        [--device cuda] [--arithmetic bf16] [--part memory]

Expected: 8 minutes on 2 idle cores, 8 GB of memory. Writes results/pretraining.json beside this
file (pretraining_gpu.json with --device cuda); parts that are not asked for stay.

Ours: a step of the training loop's objective (average of the weights left out), on tensors in
memory. Bare: forward, cross-entropy, backward, clipping and AdamW of timm's model on the same
tensors; for S2 on as many crops. In turn; the median of the ratios counts. On a CPU times are those
of the process, with one thread. Memory: growth of the peak over what the process holds before its
first step, each in a process of its own.
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
import time
from pathlib import Path
from types import SimpleNamespace

import torch

from workbench import datasets
from workbench.cost.parallel import peak_mb
from workbench.pretraining.backbone import augmentation, build_s2
from workbench.pretraining.config import PretrainConfig, PretrainRecipe
from workbench.pretraining.images import Augmented, supervised_views
from workbench.pretraining.supervised import Supervised
from workbench.training.batches import Batches
from workbench.training.trained import Trained

RESULTS = Path(__file__).parent / "results" / "pretraining.json"
CLASSES, LOADED = 1000, 256
PARTS = ("1x", "1x+2x", "memory", "loading")


def ours(asked: argparse.Namespace, scales: tuple[str, ...], recompute: bool) -> Trained:
    config = PretrainConfig(
        model=asked.model, dataset="bundled:specks:train", scales=scales, batch=asked.batch
    )
    recipe = PretrainRecipe(
        augment="none", ema=0.0, recompute=recompute, device=asked.device,
        arithmetic=asked.arithmetic,
    )  # fmt: skip
    s2 = build_s2(config, recipe, asked.device)
    state = Supervised(s2, CLASSES, config, recipe).to(asked.device)
    return state.trained(SimpleNamespace(read=None, ready=None), config, 1000)


def step(trained: Trained, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    loss, _ = trained.loss(batch)
    trained.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained.model.parameters(), 1.0)
    trained.optimizer.step()


def bare(asked: argparse.Namespace, crops: int):
    """A bare step on so many crops per image."""
    import timm
    from timm.optim import create_optimizer_v2

    name, _, _ = asked.model.removeprefix("timm:").partition(":")
    model = timm.create_model(name, num_classes=CLASSES).to(asked.device).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.1)
    images = torch.randn(asked.batch * crops, 3, 224, 224, device=asked.device)
    labels = torch.randint(CLASSES, (asked.batch * crops,), device=asked.device)
    half = asked.arithmetic == "bf16"

    def run() -> None:
        kind = torch.device(asked.device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def batch_of(asked: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.randint(0, 255, (asked.batch, 3, 224, 224), dtype=torch.uint8)
    return pixels.to(asked.device), torch.randint(CLASSES, (asked.batch,)).to(asked.device)


def seconds(run, asked: argparse.Namespace) -> float:
    """Seconds of one step: on a CPU the time of this process, whatever else the machine runs."""
    gpu = torch.device(asked.device).type == "cuda"
    clock = time.perf_counter if gpu else time.process_time
    start = clock()
    run()
    if gpu:
        torch.cuda.synchronize()
    return clock() - start


def compared(asked: argparse.Namespace, scales: tuple[str, ...], crops: int) -> dict:
    """Speed of our step over that of the bare one with as many crops."""
    trained, batch, other = ours(asked, scales, False), batch_of(asked), bare(asked, crops)
    seconds(lambda: step(trained, batch), asked)
    seconds(other, asked)
    rounds = [
        (seconds(lambda: step(trained, batch), asked), seconds(other, asked))
        for _ in range(asked.rounds)
    ]
    return {
        "scales": list(scales),
        "images_per_s": asked.batch / statistics.median(a for a, _ in rounds),
        "bare_images_per_s": asked.batch / statistics.median(b for _, b in rounds),
        "speed_over_bare": statistics.median(b / a for a, b in rounds),
    }


def peak(asked: argparse.Namespace) -> float:
    """MiB that the first step adds: gradients, moments of the optimiser, and activations."""
    scales = tuple(asked.memory.removesuffix("r").split("+"))
    trained, batch = ours(asked, scales, asked.memory.endswith("r")), batch_of(asked)
    if torch.device(asked.device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(trained, batch)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = peak_mb(torch.device("cpu"))
    step(trained, batch)
    return (peak_mb(torch.device("cpu")) - before) * 1e6 / 2**20


def memory(asked: argparse.Namespace) -> dict:
    options = [f"--{name}={getattr(asked, name)}" for name in ("model", "device", "arithmetic")]
    found = {}
    batch = max(asked.batch, 8)  # activations outweigh gradients and moments
    # Freed memory goes back at once, so that the peak is what is held and not what malloc keeps.
    env = os.environ | {f"MALLOC_{name}_THRESHOLD_": "65536" for name in ("MMAP", "TRIM")}
    for name in ("1x", "1x+2x+3x", "1x+2x+3xr"):
        line = [sys.executable, __file__, *options, "--batch", str(batch), "--memory", name]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=env)
        found[name.removesuffix("r") + (", recomputed" if name.endswith("r") else "")] = float(
            done.stdout.split()[-1]
        )
    one, _, recomputed = found.values()
    return {"batch": batch, "mib_of_a_step": found, "recomputed_over_1x": recomputed / one}


def loading(asked: argparse.Namespace) -> dict:
    """Images per second that two processes decode and augment at 224 pixels."""
    config = PretrainConfig(model=asked.model, dataset="bundled:textiles:train")
    s2 = build_s2(config, PretrainRecipe(), "cpu")
    magnitude, _ = augmentation(PretrainRecipe(augment="medium1"), s2.info)
    found = {}
    for name in ("bundled:textiles:train", "bundled:specks:train"):
        made = Augmented(datasets.open(name), supervised_views(224, 0.05, magnitude), 0)
        batches = Batches(made, batch=32, workers=2)
        for number in range(1, 4):
            batches.ready(batches.read(number))
        start = time.perf_counter()
        for number in range(4, 4 + LOADED // 32):
            batches.ready(batches.read(number))
        found[name] = LOADED / (time.perf_counter() - start)
    return {"workers": 2, "augmentation": "medium1", "images_per_s": found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="timm:vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arithmetic", default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1 if asked.device == "cpu" else torch.get_num_threads())
    if asked.memory:
        print(peak(asked))
        return
    setting = {
        "model": asked.model,
        "device": asked.device,
        "arithmetic": asked.arithmetic,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "torch": importlib.metadata.version("torch"),
        "timm": importlib.metadata.version("timm"),
    }
    place = RESULTS if asked.device == "cpu" else RESULTS.with_stem(f"{RESULTS.stem}_gpu")
    before = json.loads(place.read_text("utf-8")) if place.exists() else {}
    found = before if {k: before.get(k) for k in setting} == setting else setting
    measured = {
        "1x": lambda: {"batch": asked.batch} | compared(asked, ("1x",), 1),
        "1x+2x": lambda: {"batch": asked.batch} | compared(asked, ("1x", "2x"), 5),
        "memory": lambda: memory(asked),
        "loading": lambda: loading(asked),
    }
    for part in asked.part:
        stamp = {"date": str(datetime.date.today()), "load_average": os.getloadavg()[0]}
        found[part] = measured[part]() | stamp
    place.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
