"""Extraction on a GPU against the bare forward pass of the same model in the same run.

    python scripts/benchmarks/extraction_gpu.py [--repeats 3]

Images are uint8 arrays in files (nothing to decode), the model runs in bf16, features are stored as
float16: ViT-L/16 at 224 and ViT-B/16 at 224+448, random weights. Also: how many JPEGs a second the
decoding processes deliver. Expected on one data-centre GPU and 16 cores: 5 minutes, 20 GB of disk
for temporary stores. Writes results/extraction_gpu.json beside this file, or why it was skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from extraction import about, seconds, write_photographs
from PIL import Image

from workbench import datasets
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.image_loader import Pixels, batches_of, image_batches
from workbench.models import Backbone, load

RESULTS = Path(__file__).parent / "results" / "extraction_gpu.json"
VIT_BASE = "random:timm:vit_base_patch16_224"
VIT_LARGE = "random:timm:vit_large_patch16_224"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), parser.parse_args().repeats)
    found["measured_on"] = about()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def measure(folder: Path, repeats: int) -> dict:
    """Extraction of uint8 arrays over the bare forward pass in bf16, and the rate of decoding."""
    if not torch.cuda.is_available():
        return {"skipped": "no CUDA device on this machine"}
    write_arrays(folder / "arrays", 16_384)
    workers = max(1, (os.cpu_count() or 1) - 2)
    cases = [(VIT_LARGE, ("1x",), 16_384), (VIT_BASE, ("1x", "2x"), 8_192)]
    found: dict = {"device": torch.cuda.get_device_name(), "workers": workers}
    for model, scales, count in cases:
        backbone = load(model, device="cuda", arithmetic="bf16")
        rows = []
        for turn in range(repeats):
            bare = bare_gpu(backbone, sum(int(scale[0]) ** 2 for scale in scales))
            report = extract(
                ExtractRequest(
                    dataset=f"folder:{folder}/arrays", models=[model], scales=scales, limit=count,
                    store=f"{folder}/{len(scales)}.{turn}.zarr", arithmetic="bf16", device="cuda",
                    batch=64, max_crops=256, workers=workers, shard_images=1024,
                )
            )  # fmt: skip
            rows.append((report.images_per_s, bare))
            shutil.rmtree(report.store)
        found[f"{model}@{'+'.join(scales)}"] = {
            "images_per_s": statistics.median(row[0] for row in rows),
            "bare_forward_images_per_s": statistics.median(row[1] for row in rows),
            "ratio_to_bare_forward": statistics.median(row[0] / row[1] for row in rows),
        }
    write_photographs(folder / "photos")
    photos = datasets.open(f"folder:{folder}/photos")
    pixels = Pixels(photos, np.arange(len(photos)), (backbone.info.transform,))
    plan = batches_of({turn: range(len(photos)) for turn in range(20)}, 64)
    took = seconds(lambda: list(map(id, image_batches(pixels, plan, workers=workers, gpu=True))))
    found["jpeg_500x375_decoded_per_s"] = 20 * len(photos) / took
    return found


@torch.inference_mode()
def bare_gpu(backbone: Backbone, crops_per_image: int) -> float:
    """Images per second of the forward pass alone, at the better of two batch sizes."""
    rates = []
    for batch in (64, 256):
        crops = torch.randn((batch, 3, 224, 224), device=backbone.device)

        def run(crops: torch.Tensor = crops) -> None:
            for _ in range(4096 // len(crops)):
                backbone(crops)
            torch.cuda.synchronize()

        run()
        rates.append(4096 / seconds(run) / crops_per_image)
    return max(rates)


def write_arrays(folder: Path, count: int) -> None:
    """Links to 64 files of plain uint8 pixels with a short header (PPM), `count` in all."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(count):
        path = folder / f"{k:05d}.ppm"
        if k < 64:
            Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save(path)
        else:
            path.symlink_to(folder / f"{k % 64:05d}.ppm")


if __name__ == "__main__":
    main()
