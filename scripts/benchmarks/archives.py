"""Images from archives against files of a folder; stored tokens against one array in memory.

    python scripts/benchmarks/archives.py [--images 2000] [--rounds 5] [--maps 4096]
        [--parts images tokens]

Images: JPEG files of 500 x 375 pixels in ten folders, packed in the order of their names into each
kind of archive; they are read in order by one thread, once as bytes and once decoded. Kinds
alternate within a round, and the ratio of a round to `folder:` of the same round is what to read.
Listing times are those of the first opening and of the second, from the cache.

Tokens: maps of 14 x 14 x 384 float16 in shards of 256, read by a DataLoader in batches of 64 in the
order of ShardSampler, and the same loader over one array in memory. Memory is the peak of a process
that reads a quarter of the images, in shards of 64, and of one that reads all.

Expected on 2 cores: 6 minutes, 3 GB of memory, 3 GB of disk. Needs the extra 'archives'. Writes
results/archives.json.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import feature_store
from workbench import datasets, processors
from workbench.datasets import Dataset

RESULTS = Path(__file__).parent / "results" / "archives.json"
SOURCE, SHAPE, BATCH = "toy:a#b@224", (14, 14, 384), 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--maps", type=int, default=4096)
    parser.add_argument("--parts", nargs="+", default=["images", "tokens"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(peak_of(options.peak_of))
        return
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        for part in options.parts:
            load = os.getloadavg()[0]
            measure = measure_images if part == "images" else measure_tokens
            count = options.images if part == "images" else options.maps
            result = measure(Path(folder), count, options.rounds)
            found[part] = about(load, count, options.rounds) | {"found": result}
            options.out.write_text(json.dumps(found, indent=1) + "\n")


def measure_images(folder: Path, images: int, rounds: int) -> dict:
    """Images/s of each kind, and its ratio to the folder."""
    names = packed(folder, images)
    listed = {kind: [seconds(lambda n=n: datasets.open(n)) for _ in range(2)]
              for kind, n in names.items()}  # fmt: skip
    opened = {kind: datasets.open(name) for kind, name in names.items()}
    rates: dict[str, dict[str, list[float]]] = {"bytes": {}, "decoded": {}}
    for number in range(rounds + 1):
        for kind, dataset in opened.items():
            for what, read in (("bytes", dataset.read), ("decoded", dataset.image)):
                rate = len(dataset) / seconds(lambda d=dataset, r=read: in_order(d, r))
                if number:  # the first round fills the page cache
                    rates[what].setdefault(kind, []).append(rate)
        print(f"images: round {number} of {rounds}", file=sys.stderr)
    return {
        kind: {
            "first_opening_s": round(listed[kind][0], 3),
            "next_opening_s": round(listed[kind][1], 3),
        }
        | {what: rate_and_ratio(of[kind], of["folder"]) for what, of in rates.items()}
        for kind in names
    }


def in_order(dataset: Dataset, read: Callable[[int], object]) -> None:
    for row in range(len(dataset)):
        read(row)


def packed(folder: Path, images: int) -> dict[str, str]:
    """The images as files and in each kind of archive: kind to dataset name."""
    import datasets as hub
    import lmdb

    rng = np.random.default_rng(0)
    files = {}
    for n in range(images):
        small = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
        stream = io.BytesIO()
        small.resize((500, 375), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        files[f"class{n * 10 // images}/{n:05d}.jpg"] = stream.getvalue()
    for path, data in files.items():
        (folder / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / path).write_bytes(data)
    with tarfile.open(folder / "photos.tar", "w") as tar:
        tar.add(folder / "photos", "", filter=lambda info: info)
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    for shard in range(4):
        with tarfile.open(folder / f"{shard:03d}.tar", "w") as tar:
            for path, data in list(files.items())[shard * images // 4 : (shard + 1) * images // 4]:
                label, name = path.split("/")
                for end, content in (("jpg", data), ("cls", label.encode())):
                    info = tarfile.TarInfo(f"{name.split('.')[0]}.{end}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    cells = [{"bytes": data, "path": path} for path, data in files.items()]
    rows = hub.Dataset.from_dict(
        {"image": cells}, features=hub.Features({"image": hub.Image(decode=False)})
    )
    rows = rows.cast_column("image", hub.Image())
    rows.to_parquet(folder / "photos.parquet", batch_size=100)
    rows.save_to_disk(folder / "saved")
    with (
        lmdb.open(str(folder / "photos.lmdb"), map_size=1 << 33) as base,
        base.begin(write=True) as put,
    ):
        for path, data in files.items():
            put.put(path.encode(), data)
    return {
        "folder": f"folder:{folder}/photos",
        "tar": f"tar:{folder}/photos.tar",
        "zip": f"zip:{folder}/photos.zip",
        "wds": f"wds:{folder}/{{000..003}}.tar",
        "parquet": f"parquet:{folder}/photos.parquet",
        "hfdisk": f"hfdisk:{folder}/saved",
        "lmdb": f"lmdb:{folder}/photos.lmdb",
    }


def measure_tokens(folder: Path, maps: int, rounds: int) -> dict:
    """Images/s of the dataset under a DataLoader, and its ratio to an array in memory."""
    from torch.utils.data import DataLoader

    from workbench.data import ShardSampler, TokenDataset

    array = stored(folder / "s.zarr", maps)
    rates: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds + 1):
        for pooling in (None, "mean"):
            for workers in (0, 2):
                tokens = TokenDataset(str(folder / "s.zarr"), SOURCE, pooling)
                for what, data in (("store", tokens), ("memory", InMemory(array, pooling))):
                    sampler = ShardSampler(tokens)
                    loader = DataLoader(data, BATCH, sampler=sampler, num_workers=workers)
                    rate = maps / seconds(lambda loader=loader: [None for _ in loader])
                    if number:
                        case = f"pooling {pooling or 'none'}, {workers} workers"
                        rates.setdefault(case, {}).setdefault(what, []).append(rate)
        print(f"tokens: round {number} of {rounds}", file=sys.stderr)
    found: dict = {case: rate_and_ratio(of["store"], of["memory"]) for case, of in rates.items()}
    return found | {"peak_memory_mb": peaks(folder, maps)}


def peaks(folder: Path, maps: int) -> dict[str, int]:
    """Peak memory in MB of reading a quarter of the maps, and all, in shards of 64."""
    found = {}
    for count in (maps // 4, maps):
        path = folder / f"{count}.zarr"
        stored(path, count, shard_images=64)
        command = [sys.executable, __file__, "--peak-of", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[f"{count} images"] = round(float(done.stdout))
    return found


class InMemory:
    """The same items as a TokenDataset from one array, its batches taken at once."""

    def __init__(self, array: np.ndarray, pooling: str | None) -> None:
        self.array, self.pooling = array, pooling

    def __len__(self) -> int:
        return len(self.array)

    def __getitems__(self, items: list[int]) -> list:
        import torch

        values = self.array[items]
        if self.pooling == "mean":
            values = values.mean((1, 2), dtype=np.float32)
        return [(one, 0) for one in torch.from_numpy(values.astype(np.float32))]


def stored(path: Path, maps: int, shard_images: int = 256) -> np.ndarray:
    """A store of random maps, and the maps."""
    rng = np.random.default_rng(0)
    array = rng.normal(size=(maps, *SHAPE)).astype(np.float16)
    store = feature_store.create(
        path, dataset="toy", image_ids=[f"{n:06d}" for n in range(maps)], shard_images=shard_images
    )
    writer = store.add_source(SOURCE, manifest={}, grid=SHAPE[:2], channels=SHAPE[2])
    for shard in writer.missing():
        rows = writer.rows(shard)
        writer.commit(shard, array[rows.start : rows.stop])
    return array


def peak_of(path: str) -> float:
    """Peak memory in MB of one epoch in this process, mapped files included."""
    from torch.utils.data import DataLoader

    from workbench.data import ShardSampler, TokenDataset

    tokens = TokenDataset(path, SOURCE)
    for _ in DataLoader(tokens, BATCH, sampler=ShardSampler(tokens)):
        pass
    status = Path("/proc/self/status").read_text()  # getrusage counts the parent's memory, too
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rate_and_ratio(rates: list[float], reference: list[float]) -> dict:
    """Median rate, median and range of the ratios of each round."""
    ratios = [rate / other for rate, other in zip(rates, reference, strict=True)]
    return {
        "images_per_s": round(statistics.median(rates), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def about(load: float, images: int, rounds: int) -> dict:
    names = ("torch", "numpy", "zarr", "pillow", "simplejpeg", "pyarrow", "datasets", "lmdb")
    return {
        "date": str(datetime.date.today()),
        **processors.machine(),
        "load_average_before": load,
        "load_average_after": os.getloadavg()[0],
        "images": images,
        "rounds": rounds,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in names},
    }


if __name__ == "__main__":
    main()
