"""A small store that the fuzzers write, read, damage and repair, without models."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import zarr
from zarr.core import sync

import feature_store
from feature_store import FeatureStore, image_arrays, protocol
from feature_store.recorded_images import recorded_images
from feature_store.status import repair_status
from feature_store.writer import ShardImages
from workbench.datasets import Dataset
from workbench.extraction.request import ExtractRequest
from workbench.extraction.target_store import open_target

SOURCE = "toy:a#blocks@224"
SHARD = 3


@contextmanager
def small_id_chunks() -> Iterator[None]:
    """New stores have four ids in a chunk: several chunks, and quick to decode."""
    usual, image_arrays._ID_CHUNK = image_arrays._ID_CHUNK, 4
    image_arrays.image_documents.cache_clear()
    try:
        yield
    finally:
        image_arrays._ID_CHUNK = usual
        image_arrays.image_documents.cache_clear()


@contextmanager
def one_thread() -> Iterator[None]:
    """zarr works in this thread: with tiny stores, changing threads takes most of the time."""
    loop, usual = asyncio.new_event_loop(), sync.sync
    using = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("zarr.", "feature_store.")) and vars(module).get("sync") is usual
    ]

    async def called(function: Callable, *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    def run(coroutine: Any, *_: Any, **__: Any) -> Any:
        return loop.run_until_complete(coroutine)

    with ExitStack() as patched:
        patched.enter_context(patch.object(asyncio, "to_thread", called))
        for module in using:
            patched.enter_context(patch.object(module, "sync", run))
        yield
    loop.close()


def dataset(images: int) -> Dataset:
    """Images in another order than rows, so that growth adds them in the middle."""
    ids = sorted((f"p/{k * 7 % 11:02d}.png" for k in range(images)), reverse=True)
    labels = np.array([int(i[2:4]) % 3 for i in ids], np.int32)
    return Dataset(
        name="folder:toy",
        image_ids=ids,
        labels=labels,
        label_names=["ant", "bee", "cat"],
        reader=str.encode,
    )


def values(image_id: str) -> np.ndarray:
    """(1, 2, 3) float32 features of one image."""
    return np.random.default_rng(int(image_id[2:4])).standard_normal((1, 2, 3)).astype(np.float32)


def extract(path: Path, images: int, layout: str) -> list[int]:
    """What an extraction does to the store, with known features; the shards it computed."""
    request = ExtractRequest(
        dataset="folder:toy", models=["toy:a"], scales=["224"], store=str(path), shard_images=SHARD
    )
    store = open_target(request, dataset(images), lambda line: None, check_images=False)
    writer = store.add_source(
        SOURCE,
        manifest={"model": "toy:a", "default_tap": "blocks"},
        grid=(1, 2),
        channels=3,
        dtype="float32",
        layout=layout,
    )
    missing = writer.missing()
    for shard in missing:
        ids = [store.image_ids[row] for row in writer.todo(shard)]
        tokens = np.stack([values(i) for i in ids])
        known = ShardImages(fingerprints=[protocol.fingerprint(t.view(np.uint8)) for t in tokens])
        writer.commit(shard, tokens, images=known)
    repair_status(store.objects, [store.source(SOURCE)], store.readable_sources)
    return missing


def facts(path: Path) -> dict[str, Any]:
    """Everything that a reader uses.

    Raises
    ------
    StoreError
        Something is damaged.
    """
    store = feature_store.open(path)
    return {
        "dataset": (store.dataset, store.dataset_path, store.version, len(store)),
        "ids": store.image_ids.tolist(),
        "labels": [store.label_names[k] for k in store.labels],
        "status": store.status.tolist(),
        "tokens": store.features(SOURCE).values.tobytes(),
        "manifest": store.manifest(SOURCE),
        "sources": [(s.source, s.complete, s.failed, s.grid) for s in store.source_status()],
        "fingerprints": recorded_images(store).fingerprints.tolist(),
    }


def is_right(store: FeatureStore, images: int) -> bool:
    """Whether every row has the features of its image."""
    ids, tokens = store.image_ids, store.features(SOURCE).values
    return len(ids) == images and all(
        np.array_equal(t, values(i)) for i, t in zip(ids, tokens, strict=True)
    )


def machine() -> dict[str, Any]:
    """Where and when the figures of a report were seen."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "zarr": zarr.__version__,
        "load_average": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
    }


def report(found: dict[str, Any], out: Path | None) -> None:
    """Print a report, or write it."""
    text = json.dumps(found | machine(), indent=1) + "\n"
    if out is None:
        print(text, end="")
    else:
        out.write_text(text)
