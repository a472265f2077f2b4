"""Flip one bit of every byte of every metadata file of a small store, then read and repair it.

    python scripts/fuzz/metadata.py --layout raw --out scripts/fuzz/metadata_raw.json

Takes 8 minutes of one idle core, 10 MB of disk and 140 MB of memory. Ctrl-C reports the flips so
far. Every flip must be noticed
by a read or by `verify`, or leave the same content (JSON, or values of a chunk); no exception but
StoreError may escape; and an extraction must repair the store or say that it is beyond repair. Any
other outcome is printed and ends the run with status 1.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
import toy_store

from feature_store import FeatureStore, StoreError
from feature_store.image_arrays import decoded
from feature_store.objects import connect
from feature_store.verify import verify

IMAGES = 5


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Options of the run."""

    layout: str = "raw"
    """raw or packed."""
    sample: int = 0
    """Only so many bytes, drawn at random; 0 flips every byte."""
    seed: int = 0
    """Seed of the bits."""
    out: Path | None = None
    """File for the JSON report; standard output otherwise."""


def main(options: Flips) -> dict:
    """Flip, read, verify, repair; the counts of what happened."""
    rng, start = random.Random(options.seed), time.time()
    counts: Counter[str] = Counter()
    unexpected: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        toy_store.small_id_chunks(),
        toy_store.one_thread(),
    ):
        good, path = Path(folder) / "good", Path(folder) / "s"
        toy_store.extract(good, IMAGES, options.layout)
        truth = toy_store.facts(good)
        names = [p.relative_to(good) for p in sorted(good.rglob("*")) if is_metadata(p)]
        flips = [(n, k) for n in names for k in range((good / n).stat().st_size)]
        if options.sample:
            flips = rng.sample(flips, options.sample)
        shutil.copytree(good, path)
        for name, place in until_interrupted(flips):
            data = bytearray((good / name).read_bytes())
            data[place] ^= 1 << rng.randrange(8)
            (path / name).write_bytes(data)
            try:
                outcome = one(path, truth, same_content(good / name, path / name), options.layout)
            except Exception as error:
                outcome = "raw exception"
                unexpected.append(f"{name} byte {place}: {type(error).__name__}: {error}")
            if outcome.startswith("silent"):
                unexpected.append(f"{name} byte {place}: {outcome}")
            counts[outcome] += 1
            shutil.rmtree(path)
            shutil.copytree(good, path)
    return {
        "layout": options.layout,
        "files": len(names),
        "bytes": len(flips),
        "flips": sum(counts.values()),
        "outcomes": dict(sorted(counts.items())),
        "unexpected": unexpected,
        "seconds": round(time.time() - start, 1),
    }


def until_interrupted(flips: list[tuple[Path, int]]) -> Iterator[tuple[Path, int]]:
    """The flips, as many as begin before Ctrl-C."""
    asked: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    yield from itertools.takewhile(lambda flip: not asked, flips)
    signal.signal(signal.SIGINT, usual)


def is_metadata(path: Path) -> bool:
    """Documents, commit records, and the root's arrays; not the chunks of features."""
    return path.is_file() and (
        path.suffix == ".json" or path.parent.name in ("image_id", "label", "status")
    )


def same_content(one: Path, other: Path) -> bool:
    """Whether two files are the same JSON, or chunks that decode to the same values.

    The header of a zstd frame has a bit that its decoders ignore.
    """
    if one.suffix == ".json":
        try:
            return json.loads(one.read_bytes()) == json.loads(other.read_bytes())
        except ValueError:
            return False
    document = json.loads((one.parent / "zarr.json").read_bytes())
    (length,) = document["chunk_grid"]["configuration"]["chunk_shape"]
    try:
        found = [decoded(document, {"c.0": chunk.read_bytes()}, length) for chunk in (one, other)]
    except Exception:  # whatever a codec raises for damaged bytes
        return False
    return bool(np.array_equal(*found))


def one(path: Path, truth: dict, unchanged: bool, layout: str) -> str:
    """What happens to a damaged store: read, verified, repaired."""
    noticed = False
    try:
        if toy_store.facts(path) != truth:
            return "silent: a reader gets something else"
    except StoreError:
        noticed = True
    try:
        noticed |= bool(verify(FeatureStore(connect(path))).problems)
    except StoreError:
        noticed = True
    try:
        toy_store.extract(path, IMAGES, layout)
    except StoreError as error:
        if not noticed:
            return "silent: only extract notices"
        return "beyond repair, said" if "cannot be restored" in str(error) else "refused by extract"
    after = toy_store.facts(path)
    if after != truth or verify(FeatureStore(connect(path))).problems:
        return "silent: extract did not repair it"
    if not noticed:
        return "same content" if unchanged else "silent: nothing notices"
    return "noticed and repaired"


if __name__ == "__main__":
    options = tyro.cli(Flips)
    found = main(options)
    toy_store.report(found, options.out)
    print(*found["unexpected"][:20], sep="\n", file=sys.stderr)
    sys.exit(1 if found["unexpected"] else 0)
