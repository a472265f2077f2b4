"""What the project claims on a GPU, part by part; `gpu.sh` says what it needs.

    python scripts/benchmarks/gpu.py [PART ...] [--tiny] [--out scripts/benchmarks/results/gpu]

extraction     images/s of decoding, forward pass and store together over the bare forward pass,
               bf16, images that need no decoding
compiled       the same with torch.compile
decode         JPEGs a second that the decoding processes deliver to the GPU
table13        images/s of Table 13's rows beside the published ones
table2         hours of the ViT block of Table 2 on ImageNet-1k train, projected from forward passes
sets           {1x, 1x+2x, 1x+2x+3x} in one extraction against three
moments        second moments of tokens on the device against the bare product
probe          a logistic head and nearest neighbours on the device, against the CPU's results
faiss          neighbours by faiss on the GPU against an exact product
out_of_memory  more crops than fit: the run halves them and ends with the same features
training       a training step of S2 against a bare step of the model, time and peak memory

Random weights, generated images: nothing is read from beside the checkout. A part that cannot run
here writes {"skipped": why}. Each writes PART.json with machine and versions; one that fails is
named at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from analyses import published
from analyses.linear.config import HeadConfig
from analyses.linear.logistic import LogisticProblem
from analyses.moments.accumulate import PANEL, Accumulator
from analyses.moments.second_moments import Moments, MomentsConfig
from analyses.reading.pooled import FeatureRows
from analyses.statistics import nearest_neighbours
from feature_store import Source
from workbench import cost, datasets, models
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.image_loader import Pixels, batches_of, image_batches
from workbench.multiscale import S2, CropLimit, Scale, features
from workbench.tables.specs.common import paper_sources

RESULTS = Path(__file__).parent / "results" / "gpu"
IMAGENET = 1_281_167


@dataclass(frozen=True)
class Size:
    """How much of everything: for a GPU, or to see on a CPU that every line runs."""

    device: str
    cases: dict[str, tuple[str, ...]]
    """Model to its scales, in the order in which they are wanted."""
    images: int
    batch: int
    """Images of a bare forward pass."""
    tokens: int
    channels: int
    rows: int
    classes: int
    compiled: int
    """How many of the cases are compiled."""


VIT = "random:timm:vit_{}"
GPU = Size(
    device="cuda",
    cases={
        VIT.format("large_patch16_224"): ("1x",),
        VIT.format("base_patch16_224"): ("1x", "2x"),
        VIT.format("huge_patch14_224"): ("1x",),
        VIT.format("large_patch14_dinov2") + ":224": ("1x",),
        "random:timm:convnext_large": ("1x",),
    },
    images=4096, batch=256, tokens=400_000, channels=1024, rows=100_000, classes=1000, compiled=2,
)  # fmt: skip
TINY = Size(
    device="cpu", cases={"random:timm:test_vit.r160_in1k": ("1x", "2x")},
    images=8, batch=2, tokens=600, channels=16, rows=200, classes=4, compiled=0,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; expected {', '.join(PARTS)}")
    size = TINY if options.tiny else GPU
    if size.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu: no CUDA device on this machine; --tiny runs every part on the CPU")
    failed = []
    for part in parts:
        path = options.out / f"{part}.json"
        if path.exists():
            print(f"gpu: {part} is there ({path})", flush=True)
            continue
        try:
            measure(part, size, path)
        except Exception:  # the other parts are wanted all the same
            traceback.print_exc()
            failed.append(part)
    if failed:
        sys.exit(f"gpu: failed: {' '.join(failed)}")


def measure(part: str, size: Size, path: Path) -> None:
    """Run a part; its JSON appears whole or not at all."""
    start, load = time.perf_counter(), os.getloadavg()[0]
    if size.device == "cuda":  # what the part before has left is not this one's
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        found = PARTS[part](Path(folder), size)
    found["measured_on"] = about(load) | {"took_s": round(time.perf_counter() - start, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    print(json.dumps({part: found}, indent=1), flush=True)


# -- extraction -----------------------------------------------------------------------------------


def extraction(folder: Path, size: Size, *, compile: bool = False) -> dict:
    """Each case against the bare forward pass of the same model in the same run."""
    dataset = write_arrays(folder / "arrays", size.images)
    found = {}
    for model, scales in list(size.cases.items())[: size.compiled if compile else None]:
        backbone = models.load(model, device=size.device, arithmetic="bf16")
        crops = sum(int(scale[0]) ** 2 for scale in scales)
        rates = []
        for turn in range(2):
            bare = forward_rate(backbone, size) / crops
            asked = request(dataset, model, scales, folder / f"{turn}.zarr", size)
            report = extract(dataclasses.replace(asked, compile=compile))
            shutil.rmtree(report.store)
            rates.append((report.images_per_s, bare))
        best = max(rates, key=lambda pair: pair[0] / pair[1])
        found["@".join((model, "+".join(scales)))] = {
            "images_per_s": best[0],
            "bare_forward_images_per_s": best[1],
            "of_bare_forward": [ours / bare for ours, bare in rates],
        }
    return found or {"skipped": "no case is compiled at this size"}


def request(
    dataset: str, model: str, scales: tuple[str, ...], store: Path, size: Size
) -> ExtractRequest:
    gpu = size.device == "cuda"
    return ExtractRequest(
        dataset=dataset, models=[model], scales=scales, store=str(store), device=size.device,
        arithmetic="bf16", batch=64 if gpu else None, max_crops=256 if gpu else None,
        workers=processes() if gpu else 0, shard_images=1024,
    )  # fmt: skip


@torch.inference_mode()
def forward_rate(backbone: models.Backbone, size: Size) -> float:
    """Crops per second of the forward pass alone, at the better of two batch sizes."""
    side, rates = backbone.info.native, []
    for batch in (size.batch, max(1, size.batch // 4)):
        crops = torch.randn((batch, 3, side, side), device=size.device)
        turns = max(1, size.images // (2 * batch))
        rates.append(turns * batch / repeated(lambda x=crops: backbone(x), turns))
    return max(rates)


def decode(folder: Path, size: Size) -> dict:
    """JPEGs of 500 x 375 pixels, resized to the model's input and put on the device."""
    count = min(size.images, 512)
    dataset = datasets.open(write_photographs(folder / "photos", count))
    info = models.resolve(next(iter(size.cases)))
    pixels = Pixels(dataset, np.arange(count), (info.transform,))
    turns = max(1, size.images // count)
    plan = batches_of({turn: range(count) for turn in range(turns)}, 64)
    workers, gpu = (processes(), True) if size.device == "cuda" else (0, False)
    start = time.perf_counter()
    for _ in image_batches(pixels, plan, workers=workers, gpu=gpu):
        pass
    seconds = time.perf_counter() - start
    return {"jpegs_per_s": turns * count / seconds, "processes": workers}


def table13(folder: Path, size: Size) -> dict:
    """Ratios between rows compare; the paper names neither device, batch nor precision."""
    del folder
    printed = published.load("s2_table13_throughput").set_index(["family", "size", "scales"])
    sources = paper_sources("s2_table13_throughput")
    if size.device == "cpu":
        sources = {label: f"{next(iter(size.cases))}@1x" for label in list(sources)[:1]}
    batch = 8 if size.device == "cuda" else 1
    config = cost.ThroughputConfig(
        device=size.device, arithmetic="bf16", batch=batch, warmup=1, repeats=3
    )
    found = {}
    for label, name in sources.items():
        source = Source.parse(name)
        rate = cost.throughput(source.model, source.scales, config, tap=source.tap)
        found[" ".join(label)] = {
            "images_per_s": rate.median,
            "published": float(printed.loc[label, "images_per_s"]),
        }
    return {"batch": batch, "rows": found}


def table2(folder: Path, size: Size) -> dict:
    """ViT-B at 224 and 448, L and H at 224: forward passes, the store left out."""
    del folder
    names = list(size.cases)
    wanted = [(names[-1], 1)]
    if size.device == "cuda":
        wanted = [(names[1], 5), (names[0], 1), (names[2], 1)]
    seconds = {}
    for name, crops in wanted:
        backbone = models.load(name, device=size.device, arithmetic="bf16")
        seconds[name] = crops / forward_rate(backbone, size)
    hours = sum(seconds.values()) * IMAGENET / 3600
    return {"seconds_per_image": seconds, "images": IMAGENET, "hours": hours}


def sets(folder: Path, size: Size) -> dict:
    """The largest set holds the maps of all three."""
    dataset = write_arrays(folder / "arrays", size.images // 2)
    model = list(size.cases)[-1] if size.device == "cpu" else list(size.cases)[1]

    def run(scales: tuple[str, ...]) -> float:
        report = extract(request(dataset, model, scales, folder / "s.zarr", size))
        shutil.rmtree(report.store)
        return report.seconds

    run(("1x",))
    apart = {"+".join(s): run(s) for s in (("1x",), ("1x", "2x"), ("1x", "2x", "3x"))}
    together = run(("1x", "2x", "3x"))
    return {
        "model": model,
        "seconds_apart": apart,
        "seconds_together": together,
        "speedup": sum(apart.values()) / together,
    }


# -- analyses -------------------------------------------------------------------------------------


def moments(folder: Path, size: Size) -> dict:
    """Against the float32 products of the upper triangle, and the scatter against float64."""
    del folder
    generator = torch.Generator(size.device).manual_seed(0)
    shape = (size.tokens // 50, 50, 1, size.channels)
    x = torch.randn(shape, generator=generator, device=size.device, dtype=torch.float32) + 1
    flat, config = x.flatten(0, 2), MomentsConfig(folds=1, device=size.device)

    def ours() -> Moments:
        accumulator = Accumulator({"x": size.channels}, config)
        for start in range(0, len(x), 1024):
            part = x[start : start + 1024]
            accumulator.update({"x": part}, np.arange(start, start + len(part)))
        return accumulator.result()

    def bare() -> None:
        for z in flat.split(config.block_tokens):
            for i in range(0, size.channels, PANEL):
                z[:, i : i + PANEL].T @ z[:, i:]

    centred = flat.double() - flat.double().mean(0)
    exact = (centred.T @ centred).cpu().numpy()
    return {
        "tokens": len(flat),
        "channels": size.channels,
        "time_over_bare_product": repeated(ours, 3) / repeated(bare, 3),
        "largest_error_of_largest": float(np.abs(ours().scatter[0] - exact).max() / exact.max()),
    }


def probe(folder: Path, size: Size) -> dict:
    """Seconds on the device; loss and neighbours against the CPU on a twentieth of the rows."""
    del folder
    rows, labels = planted(size)
    few = slice(max(size.classes, len(rows) // 20))

    def fit(device: str, part: slice) -> float:
        config = HeadConfig(device=device)
        seen = FeatureRows.of(rows[part])
        head = LogisticProblem(seen, labels[part], size.classes, config).fit(l2=1e-4)
        return float(head.evaluate(seen, labels[part])[0].mean())

    start = time.perf_counter()
    fit(size.device, slice(None))
    whole = time.perf_counter() - start
    unit, queries = nearest_neighbours.normalise(rows), slice(1000)
    near = functools.partial(nearest_neighbours.search, unit, unit[queries], 10)
    return {
        "rows": len(rows),
        "channels": size.channels,
        "classes": size.classes,
        "fit_s": whole,
        "loss_minus_cpu": fit(size.device, few) - fit("cpu", few),
        "search_s": repeated(lambda: near(device=size.device), 3) / 3,
        "neighbours_as_on_cpu": agreement(near(device=size.device).row, near(device="cpu").row),
    }


def faiss(folder: Path, size: Size) -> dict:
    """The ten nearest rows of a thousand, against float64 products."""
    del folder
    try:
        import faiss as library
    except ImportError:
        return {"skipped": "faiss is absent (the extras faiss-gpu and faiss-cpu)"}
    if size.device == "cuda" and not hasattr(library, "StandardGpuResources"):
        return {"skipped": "this faiss was not built for GPUs (the extra faiss-gpu is)"}
    rows, _ = planted(size)
    unit = nearest_neighbours.normalise(rows)
    queries = unit[:1000]
    found = nearest_neighbours.search(unit, queries, 10, device=size.device)
    exact = np.argsort(-(queries.astype(np.float64) @ unit.T), axis=1, kind="stable")[:, :10]
    return {"rows": len(rows), "neighbours_as_exact": agreement(found.row, exact)}


def planted(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Rows around a centre for each class, and their classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(size.rows) % size.classes
    centres = rng.standard_normal((size.classes, size.channels), dtype=np.float32)
    noise = rng.standard_normal((size.rows, size.channels), dtype=np.float32)
    return centres[labels] + 3 * noise, labels


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of equal neighbours, whatever their order."""
    same = [len(np.intersect1d(x, y)) for x, y in zip(a, b, strict=True)]
    return float(np.mean(same)) / a.shape[1]


# -- memory and training --------------------------------------------------------------------------


def out_of_memory(folder: Path, size: Size) -> dict:
    """One image at 4x, whose crops fit, against a batch whose crops do not."""
    del folder
    if size.device == "cpu":
        return {"skipped": "a CPU has no memory limit of its own that a run could meet"}
    model, said = list(size.cases)[1], []
    backbone = models.load(model, device=size.device)
    scales = [Scale.parse(str(4 * backbone.info.native))]
    base = torch.randn((32, 3, backbone.info.native, backbone.info.native), device=size.device)
    with torch.inference_mode():
        small = features(backbone, base, scales, max_crops=16)
        used = torch.cuda.max_memory_allocated() / torch.cuda.get_device_properties(0).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.3 * used)
        try:
            limit = CropLimit(512, log=said.append)
            large = features(backbone, base, scales, max_crops=limit)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    (a,), (b,) = small.values(), large.values()
    return {
        "messages": said,
        "crops_at_once": limit.at_once["crops"],
        "largest_difference_of_largest": float((a.map - b.map).abs().max() / a.map.abs().max()),
    }


def training(folder: Path, size: Size) -> dict:
    """Forward, backward and step of AdamW in bf16: bare model, S2 at one scale, at two."""
    del folder
    model = list(size.cases)[1 if size.device == "cuda" else 0]
    found: dict = {"model": model, "images": size.batch // 4 or 1}
    for scales in ((), ("1x",), ("1x", "2x")):
        backbone = models.load(model, device=size.device, arithmetic="bf16")
        side = backbone.info.native
        x = torch.randn((found["images"], 3, side, side), device=size.device)
        module: torch.nn.Module = S2(backbone, scales, grad=True) if scales else backbone.module
        optimiser = torch.optim.AdamW(module.requires_grad_(True).parameters(), 1e-5)

        def step(module=module, optimiser=optimiser, x=x, bare=not scales) -> None:
            with torch.autocast(x.device.type, torch.bfloat16):
                out = module.forward_features(x) if bare else module(x).map
            out.float().square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()

        step()
        if size.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        row = {"ms": 1e3 * repeated(step, 5) / 5}
        if size.device == "cuda":
            row["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        found["+".join(scales) or "bare"] = row
    return found


# -- shared ---------------------------------------------------------------------------------------


def repeated(action: Callable[[], object], turns: int) -> float:
    """Seconds of so many calls after a first one, the device's work included."""
    action()
    wait()
    start = time.perf_counter()
    for _ in range(turns):
        action()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def processes() -> int:
    return max(1, len(os.sched_getaffinity(0)) - 2)


def write_arrays(folder: Path, count: int) -> str:
    """Links to 64 files of plain uint8 pixels with a short header (PPM), `count` in all."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(count):
        path = folder / f"{k:05d}.ppm"
        if k < 64:
            Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save(path)
        else:
            path.symlink_to(folder / f"{k % 64:05d}.ppm")
    return f"folder:{folder}"


def write_photographs(folder: Path, count: int) -> str:
    """JPEGs of 500 x 375 pixels with the detail of photographs: noise at several sizes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(count):
        pixels = np.zeros((375, 500, 3), np.float32)
        for side in (4, 16, 64, 250):
            noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            pixels += np.asarray(
                Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)
            )
        Image.fromarray((pixels / 4).astype(np.uint8)).save(folder / f"{k:05d}.jpg", quality=90)
    return f"folder:{folder}"


def about(load: float) -> dict:
    named = {}
    for name in ("torch", "timm", "numpy", "zarr", "open_clip_torch"):
        try:
            named[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            named[name] = "absent"
    gpu = torch.cuda.is_available()
    return {
        "date": str(datetime.date.today()),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": round(load, 2),
        "versions": {"python": platform.python_version()} | named,
    }


PARTS: dict[str, Callable[[Path, Size], dict]] = {
    "extraction": extraction,
    "table2": table2,
    "decode": decode,
    "training": training,
    "moments": moments,
    "probe": probe,
    "sets": sets,
    "table13": table13,
    "out_of_memory": out_of_memory,
    "faiss": faiss,
    "compiled": functools.partial(extraction, compile=True),
}
"""Those most wanted first."""

if __name__ == "__main__":
    main()
