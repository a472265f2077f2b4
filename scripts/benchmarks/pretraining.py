"""A training step of `workbench pretrain` against a bare timm step; memory; speed of the data.

    python scripts/benchmarks/pretraining.py [--model timm:vit_small_patch16_224] [--batch 4]
        [--device cuda] [--arithmetic bf16] [--part memory]

Expected: 9 minutes on 2 idle cores, 8 GB of memory. Writes results/pretraining.json beside this
file (pretraining_gpu.json with --device cuda), a record for each model; other models, and parts
that are not asked for, stay.

Ours: a step of the trainer's own loop (average of the weights left out), on tensors in memory.
Bare: forward, cross-entropy, backward, clipping and AdamW of timm's model on the same tensors; for
S2 on as many crops. In turn; the median of the ratios counts. On a CPU times are those of the
process, with one thread. Memory: growth of the peak over what the process holds before its first
step, each in a process of its own. Loading and multi-crop: images that two processes decode and
augment for the two objectives, multi-crop with 2 large and 8 small crops of each.
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
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch

from workbench import datasets, processors
from workbench.cost.parallel import peak_mb
from workbench.pretraining.backbone import augmentation, build_s2, describe
from workbench.pretraining.config import Distillation, PretrainConfig, PretrainRecipe
from workbench.pretraining.images import Augmented, Views, supervised_views
from workbench.pretraining.multi_crop import MultiCrop, small_side
from workbench.pretraining.supervised import Supervised
from workbench.training.batches import Batches
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.trained import Trained

RESULTS = Path(__file__).parent / "results" / "pretraining.json"
CLASSES, LOADED, LOADED_BATCH = 1000, 256, 32
DATASETS = ("bundled:textiles:train", "bundled:specks:train")
PARTS = ("1x", "1x+2x", "memory", "loading", "multi-crop")


def config_of(asked: argparse.Namespace, scales: tuple[str, ...] = ("1x",)) -> PretrainConfig:
    return PretrainConfig(model=asked.model, dataset=DATASETS[0], scales=scales, batch=asked.batch)


def ours(asked: argparse.Namespace, scales: tuple[str, ...], recompute: bool) -> Trained:
    config = config_of(asked, scales)
    recipe = PretrainRecipe(
        augment="none", ema=0.0, recompute=recompute, device=asked.device,
        arithmetic=asked.arithmetic,
    )  # fmt: skip
    s2 = build_s2(config, recipe, asked.device)
    state = Supervised(s2, CLASSES, config, recipe).to(asked.device)
    batch = batch_of(asked)
    return state.trained(SimpleNamespace(read=lambda _: batch, ready=tuple), config, 1000)


def steps(
    trained: Trained, count: int, before: Callable[[], None], after: Callable[[], None]
) -> None:
    """Steps of the trainer's own loop; the functions run just before and after each of them."""

    def begin(step: int) -> None:
        before()
        trained.before(step)

    def end(step: int) -> None:
        trained.after(step)
        after()

    asked = TrainingConfig(iterations=count, checkpoint_every=count, keep=1, clip=1.0)
    with tempfile.TemporaryDirectory() as folder:
        train(
            replace(trained, before=begin, after=end), Path(folder), asked,
            identity={}, seed=0, log=print,
        )  # fmt: skip


def bare(asked: argparse.Namespace, crops: int):
    """A bare step on so many crops per image."""
    import timm
    from timm.optim import create_optimizer_v2

    name, _, _ = asked.model.removeprefix("timm:").partition(":")
    side = native(asked)
    sized = {} if side == 224 else {"img_size": side}
    model = timm.create_model(name, num_classes=CLASSES, **sized).to(asked.device).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.1)
    images = torch.randn(asked.batch * crops, 3, side, side, device=asked.device)
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


def native(asked: argparse.Namespace) -> int:
    return describe(config_of(asked)).native


def batch_of(asked: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    side = native(asked)
    pixels = torch.randint(0, 255, (asked.batch, 3, side, side), dtype=torch.uint8)
    return pixels.to(asked.device), torch.randint(CLASSES, (asked.batch,)).to(asked.device)


def now(asked: argparse.Namespace) -> float:
    """Seconds: on a CPU the time of this process, whatever else the machine runs."""
    if torch.device(asked.device).type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def compared(asked: argparse.Namespace, scales: tuple[str, ...], crops: int) -> dict:
    """Speed of our step over that of the bare one with as many crops; the first of each is left
    out."""
    other, clocks = bare(asked, crops), []

    def before() -> None:
        clocks.append([now(asked)])

    def after() -> None:
        clocks[-1].append(now(asked))
        other()
        clocks[-1].append(now(asked))

    steps(ours(asked, scales, False), 1 + asked.rounds, before, after)
    rounds = [(end - start, last - end) for start, end, last in clocks[1:]]
    return {
        "scales": list(scales),
        "images_per_s": asked.batch / statistics.median(a for a, _ in rounds),
        "bare_images_per_s": asked.batch / statistics.median(b for _, b in rounds),
        "speed_over_bare": statistics.median(b / a for a, b in rounds),
    }


def peak(asked: argparse.Namespace) -> float:
    """MiB that the first step adds: gradients, moments of the optimiser, and activations."""
    scales = tuple(asked.memory.removesuffix("r").split("+"))
    device, found = torch.device(asked.device), []

    def before() -> None:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found.append(peak_mb(device))

    steps(ours(asked, scales, asked.memory.endswith("r")), 1, before,
          lambda: found.append(peak_mb(device)))  # fmt: skip
    return (found[1] - found[0]) * 1e6 / 2**20


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
    """Images per second with the augmentation of the supervised objective."""
    info = describe(config_of(asked))
    magnitude, _ = augmentation(PretrainRecipe(augment="medium1"), info)
    views = supervised_views(info.native, 0.05, magnitude)
    return {"workers": 2, "augmentation": "medium1", "images_per_s": delivered(views)}


def multi_crop(asked: argparse.Namespace) -> dict:
    """Images per second, each with all its crops, of self-distillation."""
    info, options = describe(config_of(asked)), Distillation()
    sides = info.native, small_side(info, options)
    views = MultiCrop(*sides, options.local_crops)
    counts = {"2 large": sides[0], f"{options.local_crops} small": sides[1]}
    return {"workers": 2, "crops": counts, "images_per_s": delivered(views)}


def delivered(views: Views) -> dict[str, float]:
    """Images per second that two processes decode and augment, for each of the datasets."""
    found = {}
    for name in DATASETS:
        batches = Batches(Augmented(datasets.open(name), views, 0), batch=LOADED_BATCH, workers=2)
        for number in range(1, 4):
            batches.ready(batches.read(number))
        start = time.perf_counter()
        for number in range(4, 4 + LOADED // LOADED_BATCH):
            batches.ready(batches.read(number))
        found[name] = LOADED / (time.perf_counter() - start)
    return found


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
        "device": asked.device,
        "arithmetic": asked.arithmetic,
        "machine": processors.machine(),
        "torch": importlib.metadata.version("torch"),
        "timm": importlib.metadata.version("timm"),
    }
    place = RESULTS if asked.device == "cpu" else RESULTS.with_stem(f"{RESULTS.stem}_gpu")
    records = json.loads(place.read_text("utf-8")) if place.exists() else {}
    before = records.get(asked.model, {})
    found = before if {k: before.get(k) for k in setting} == setting else setting
    measured = {
        "1x": lambda: {"batch": asked.batch} | compared(asked, ("1x",), 1),
        "1x+2x": lambda: {"batch": asked.batch} | compared(asked, ("1x", "2x"), 5),
        "memory": lambda: memory(asked),
        "loading": lambda: loading(asked),
        "multi-crop": lambda: multi_crop(asked),
    }
    for part in asked.part:
        stamp = {"date": str(datetime.date.today()), "load_average": os.getloadavg()[0]}
        found[part] = measured[part]() | stamp
    records[asked.model] = found
    place.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
