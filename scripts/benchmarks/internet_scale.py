"""What the store's own bookkeeping costs at internet scale: seconds, memory, requests.

    python scripts/benchmarks/internet_scale.py [--only images object_store writers]

images        stores of 10^5, 10^6 and 10^7 images with a token of 8 channels each, in the real
              layout: open, ids and labels, list the sources, status, decide what to resume, verify
              and align labels, each in a process of its own; and the growth exponent
object_store  10^3, 10^4 and 10^5 shards on an S3 server that runs on this machine: the same
              decisions, with the requests that they send
writers       1, 2, 4 and 8 processes that claim and commit the shards of one store

Expected on 2 cores: 10 minutes, 10 and 10; 4 GB of memory, 3 GB of disk. Writes
results/internet_scale.json beside this file, after each part.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import logging
import math
import multiprocessing
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import feature_store
from analyses.reading.labels import match_labels
from feature_store import protocol
from feature_store.claims import Claim
from feature_store.verify import verify
from feature_store.writer import ShardImages, SourceWriter
from workbench import processors

RESULTS = Path(__file__).parent / "results" / "internet_scale.json"
SOURCE = "planted:model#blocks@224"
PLAN: dict = dict(manifest={"model": "planted"}, grid=(1, 1), channels=8)
SHARD_IMAGES = 1024
CLASSES = [f"class {k}" for k in range(100)]
IMAGES = (10**5, 10**6, 10**7)
SHARDS = (10**3, 10**4, 10**5)
WRITERS = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--tiny", action="store_true", help="a hundredth of everything; no JSON")
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for part in options.only:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            found[part] = PARTS[part](Path(folder), 100 if options.tiny else 1)
        found[part]["measured_on"] = about(load)
        print(json.dumps({part: found[part]}, indent=1), flush=True)
        if not options.tiny:
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


# -- images ---------------------------------------------------------------------------------------


def images(folder: Path, divisor: int) -> dict:
    """Each operation at each size, and its growth exponent between the last two sizes."""
    rows: dict[str, dict[str, dict]] = {}
    for count in (size // divisor for size in IMAGES):
        path = folder / f"{count}.zarr"
        rows.setdefault("create and fill", {})[str(count)] = measured(fill, str(path), count)
        for name, operation in OPERATIONS.items():
            rows.setdefault(name, {})[str(count)] = measured(operation, str(path))
    return {name: sizes | {"growth_exponent": exponent(sizes)} for name, sizes in rows.items()}


def fill(path: str, count: int, shard_images: int = SHARD_IMAGES) -> None:
    """A complete store, written by the store's own writer."""
    store = feature_store.create(
        path, dataset="planted", image_ids=[f"{k // 1000:05d}/{k:09d}.jpg" for k in range(count)],
        labels=np.arange(count, dtype=np.int32) % len(CLASSES), label_names=CLASSES,
        shard_images=shard_images,
    )  # fmt: skip
    writer = store.add_source(SOURCE, **PLAN)
    for shard in range(writer.stored.shard_count):
        commit(writer, shard)


def commit(writer: SourceWriter, shard: int) -> None:
    """Random tokens, with a fingerprint and a file of each image as an extraction records them."""
    rows = writer.rows(shard)
    tokens = np.random.default_rng(shard).standard_normal((len(rows), 1, 1, 8), dtype=np.float32)
    seen = ShardImages(
        fingerprints=[f"{row:032x}" for row in rows], files=[[100_000 + row, row] for row in rows]
    )
    writer.commit(shard, tokens, images=seen)


def open_store(path: str) -> None:
    assert len(feature_store.open(path))


def list_sources(path: str) -> None:
    assert feature_store.open(path).sources() == [SOURCE]


def status(path: str) -> None:
    assert feature_store.open(path).status_json()["sources"][0]["complete"]


def resume(path: str) -> None:
    assert feature_store.open(path).add_source(SOURCE, **PLAN).missing() == []


def read_ids(path: str) -> None:
    store = feature_store.open(path)
    assert len(store.image_ids) == len(store.labels) == len(store)


def align(path: str) -> None:
    store = feature_store.open(path)
    half = np.arange(len(store) // 2)
    assert len(match_labels(store, store, half, half + len(half)).names) == len(CLASSES)


def check(path: str) -> None:
    assert not verify(feature_store.open(path)).problems


OPERATIONS: dict[str, Callable[[str], object]] = {
    "open": open_store,
    "read ids and labels": read_ids,
    "list sources": list_sources,
    "status": status,
    "decide what to resume": resume,
    "align labels": align,
    "verify": check,
}


def exponent(sizes: dict[str, dict]) -> float:
    """How seconds grow: 1 for in proportion to the size."""
    (small, before), (large, after) = list(sizes.items())[-2:]
    return round(math.log(after["seconds"] / before["seconds"], int(large) / int(small)), 2)


# -- object store ---------------------------------------------------------------------------------


def object_store(folder: Path, divisor: int) -> dict:
    """Requests and seconds of the same decisions where every read is a request."""
    del folder
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it prints every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_ENDPOINT_URL": address
    }  # fmt: skip
    s3fs.S3FileSystem(endpoint_url=address).mkdir("features")
    rows: dict[str, dict[str, dict]] = {}
    try:
        for shards in (count // divisor for count in SHARDS):
            with tempfile.TemporaryDirectory() as local:
                fill(f"{local}/s.zarr", shards, shard_images=1)
                upload(Path(local), f"{shards}")
            for name in ("open", "list sources", "status", "decide what to resume"):
                url = f"s3://features/{shards}/s.zarr"
                rows.setdefault(name, {})[str(shards)] = measured(OPERATIONS[name], url)
    finally:
        server.stop()
    return {name: sizes | {"growth_exponent": exponent(sizes)} for name, sizes in rows.items()}


def upload(folder: Path, prefix: str) -> None:
    """Put files into the server's own memory: it runs in this process."""
    from moto.s3.models import s3_backends

    (backend,) = (b["aws"] for b in s3_backends.values() if "features" in b["aws"].buckets)
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            backend.put_object("features", key, path.read_bytes())


# -- writers --------------------------------------------------------------------------------------


def writers(folder: Path, divisor: int) -> dict:
    """Shards per second as several processes share them, and how often one was computed twice."""
    result = {}
    shards = 4000 // divisor
    for number in WRITERS:
        path = str(folder / f"{number}.zarr")
        store = feature_store.create(
            path, dataset="planted", image_ids=[str(k) for k in range(shards * 16)],
            shard_images=16,
        )  # fmt: skip
        store.add_source(SOURCE, **PLAN)
        context = multiprocessing.get_context("spawn")
        with context.Pool(number) as pool:
            pool.map(open_store, [path] * number)  # imports, before time is taken
            start = time.perf_counter()
            written = pool.map(share, [path] * number, chunksize=1)
            seconds = time.perf_counter() - start
        assert not feature_store.open(path).source(SOURCE).missing()
        result[f"{number} processes"] = {
            "shards": shards,
            "shards_per_s": round(shards / seconds, 1),
            "written_twice": sum(written) - shards,
        }
    return result


def share(path: str) -> int:
    """Commit whatever no other process has claimed; the number of shards written."""
    writer = feature_store.open(path).add_source(SOURCE, **PLAN)
    written = 0
    for shard in np.random.default_rng(os.getpid()).permutation(writer.stored.shard_count):
        if writer.is_done(int(shard)):
            continue
        key = protocol.claim_key(writer.stored.group, int(shard))
        with Claim(writer.stored.objects, key) as claim:
            if claim.held and not writer.is_done(int(shard)):
                commit(writer, int(shard))
                written += 1
    return written


# -- measuring ------------------------------------------------------------------------------------


def measured(operation: Callable, *given: object) -> dict:
    """Seconds, growth of the peak memory in MB, and requests of an operation in a fresh process."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_child, args=(sending, operation, given)
    )
    process.start()
    sending.close()
    try:
        return receiving.recv()
    finally:
        process.join()


def _child(sending, operation: Callable, given: tuple) -> None:
    before = peak_mb()
    with counted_requests() as requests:
        start = time.perf_counter()
        operation(*given)
        seconds = time.perf_counter() - start
    counts = {"requests": dict(requests)} if requests else {}
    sending.send({"seconds": round(seconds, 3), "more_mb": peak_mb() - before, **counts})


def peak_mb() -> int:
    """Peak memory of this process alone: ru_maxrss would start at the peak of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1000


@contextlib.contextmanager
def counted_requests() -> Iterator[Counter]:
    """Requests to S3 by kind."""
    import s3fs

    counter: Counter = Counter()
    plain = s3fs.S3FileSystem._call_s3

    async def counting(self, method, *args, **options):
        counter[method] += 1
        return await plain(self, method, *args, **options)

    s3fs.S3FileSystem._call_s3 = counting
    try:
        yield counter
    finally:
        s3fs.S3FileSystem._call_s3 = plain


def about(load: float) -> dict:
    return {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "load_average_before": round(load, 2),
        "python": platform.python_version(),
    } | {name: importlib.metadata.version(name) for name in ("numpy", "zarr", "s3fs", "moto")}


PARTS = {"images": images, "object_store": object_store, "writers": writers}

if __name__ == "__main__":
    main()
