"""Kill the extractor at random times, repeatedly, and compare the result with an undisturbed run.

    python scripts/chaos.py --kills 200 --out scripts/benchmarks/results/chaos.json

Takes about 10 minutes, 2 GB of memory and 50 MB of disk on 2 cores. The store is verified after
every kill; a damaged shard ends the experiment with an error. Every finished store must be
bit-identical to that of an undisturbed run. The JSON contains the number of kills, of stores, and
of writes that a kill interrupted (temporary files left behind).

Each attempt is a fork of a process that has imported everything, so that kills hit the work and
not the imports.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

import feature_store
from feature_store.verify import verify
from workbench.extraction import ExtractRequest, extract

MODEL = "random:timm:test_vit.r160_in1k"  # tiny: many shards per minute


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """Options of the chaos run."""

    kills: int = 200
    """SIGKILLs to deliver."""
    images: int = 60
    """Images; one shard each."""
    longest: float = 0.15
    """Longest time in seconds between the first commit of an attempt and its kill."""
    blind: float = 0.4
    """Share of the kills at a random time after the start instead of after a commit."""
    seed: int = 0
    """Seed of the times."""
    out: Path | None = None
    """File for the JSON report; standard output otherwise."""


def main(options: Chaos) -> dict:
    """Run the experiment and return the report."""
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder) / "images", options.images)
        fork(lambda: run(images, f"{folder}/whole"))
        start, delivered, rounds, redone = time.time(), 0, 0, 0
        while delivered < options.kills:
            store = f"{folder}/chaos-{rounds}"
            done = False
            while not done and delivered < options.kills:
                soon = rng.uniform(0, options.longest)
                blind = rng.random() < options.blind
                moment = after(10 * soon) if blind else after_a_commit(store, soon)
                done = fork(lambda s=store: run(images, s), moment)
                delivered += not done
                fork(lambda s=store: check(s))
            fork(lambda s=store: run(images, s))
            fork(lambda s=store: compare(s, f"{folder}/whole"))
            redone += len(list(Path(store).rglob("*.partial")))
            rounds += 1
        return {
            "kills": delivered,
            "stores_finished_and_identical": rounds,
            "writes_cut_short": redone,
            "images_per_store": options.images,
            "seconds": round(time.time() - start, 1),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "date": datetime.date.today().isoformat(),
        }


def make_images(folder: Path, count: int) -> Path:
    """Small images with different content."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(count):
        pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:04d}.png")
    return folder


def run(images: Path, store: str) -> None:
    """One attempt of the extraction."""
    extract(
        ExtractRequest(
            dataset=f"folder:{images}",
            models=[MODEL],
            scales=["1x", "2x"],
            store=store,
            shard_images=1,
            batch=1,
            device="cpu",
        )
    )


def check(store: str) -> None:
    """After a kill, shards may be missing, but no committed shard may be damaged."""
    if not (Path(store) / "zarr.json").exists():
        return
    try:
        opened = feature_store.open(store)
    except feature_store.StoreError as error:  # killed during the creation of the store
        if "creation was interrupted" not in str(error):
            raise
        return
    damaged = [p for p in verify(opened).problems if p.kind == "damaged"]
    assert not damaged, damaged


def compare(store: str, whole: str) -> None:
    """Every decoded value must be equal, bit by bit."""
    one, other = feature_store.open(store), feature_store.open(whole)
    assert verify(one).problems == []
    assert one.sources() == other.sources()
    for name in one.sources():
        for view in (one.features, one.prefix):
            expected = getattr(other, view.__name__)(name).values
            assert view(name).values.tobytes() == expected.tobytes(), name


def after(seconds: float) -> Callable[[int], None]:
    """Wait regardless of the child: some kills hit the creation of store and sources."""
    return lambda child: time.sleep(seconds)


def after_a_commit(store: str, seconds: float) -> Callable[[int], None]:
    """Wait until the child commits a shard, then some seconds; or until it ends."""

    def commits() -> int:
        return sum(1 for _ in Path(store).glob("features/*/*/*/tokens/.commits/*.json"))

    before = commits()

    def wait(child: int) -> None:
        while commits() == before and not os.waitid(
            os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
        ):
            time.sleep(0.003)
        time.sleep(seconds)

    return wait


def fork(work: Callable[[], None], kill_after: Callable[[int], None] | None = None) -> bool:
    """Run in a child process; returns whether it ended by itself. Its failure is an error here."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        kill_after(child)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        raise SystemExit("the attempt failed without a kill; see above")
    return True


if __name__ == "__main__":
    asked = tyro.cli(Chaos)
    report = json.dumps(main(asked), indent=1)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(report + "\n", encoding="utf-8")
    print(report)
