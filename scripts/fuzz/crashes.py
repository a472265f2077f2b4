"""Stop the writing of a store at every file-system call in turn, and finish it with the next run.

    python scripts/fuzz/crashes.py --out scripts/fuzz/crashes.json

Takes about 4 minutes and 10 MB of disk on one core. A run creates a store of 5 images, or extends
one to 8;
at one of its calls of `open`, `rename`, `link`, `unlink`, `fsync` or `mkdir` it stops as if it were
killed: this and all later calls fail, also those that clean up. What it left must open with the old
or the new images, or be completed by the next run, with every feature right and nothing for
`verify` to find. Any other outcome is printed and ends the run with status 1.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).parent))
import toy_store

from feature_store import FeatureStore, StoreError, claims
from feature_store.objects import connect
from feature_store.verify import verify

CALLS = ("open", "replace", "rename", "link", "unlink", "fsync", "mkdir")
"""Functions of `os` that are counted; Path calls them too."""
BEFORE, AFTER = 5, 8
"""Images before and after the growth."""


class Killed(BaseException):
    """The process is gone: nothing catches this, and no call works any more."""


@dataclass(frozen=True, kw_only=True)
class Crashes:
    """Options of the run."""

    points: int = 300
    """Crash points, spread evenly over layouts, creation and growth."""
    seed: int = 0
    """Seed of the points."""
    out: Path | None = None
    """File for the JSON report; standard output otherwise."""


@contextmanager
def killed_at(number: int | None) -> Iterator[list[int]]:
    """Raise at the call of that number and at all later ones; the list's item counts calls."""
    count = [0]
    real = {name: getattr(os, name) for name in CALLS}

    def counted(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if number is not None and count[0] > number:
                raise Killed
            return real[name](*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(name))
    try:
        yield count
    finally:
        for name in CALLS:
            setattr(os, name, real[name])


def calls_of(path: Path, images: int, layout: str) -> int:
    """File-system calls of one undisturbed run."""
    with killed_at(None) as count:
        toy_store.extract(path, images, layout)
    return count[0]


def crash(path: Path, images: int, layout: str, number: int) -> str:
    """One run that stops, what is left, and the run that completes it."""
    try:
        with killed_at(number):
            toy_store.extract(path, images, layout)
    except Killed:
        pass
    before = BEFORE if images == AFTER else 0
    found = "not a store yet"
    try:
        store = FeatureStore(connect(path))
        store.image_ids, store.labels, store.status  # noqa: B018 reads are the check
        for name in store.sources():
            store.features(name, allow_incomplete=True).values  # noqa: B018
        found = "new images" if len(store) == images else "old images"
        if len(store) not in (before, images):
            return f"wrong: {len(store)} images"
    except StoreError as error:
        if before:
            return f"wrong: {error}"
    claims.clear(connect(path))  # this process still runs, so that its claims would be respected
    release(path)
    toy_store.extract(path, images, layout)
    store = FeatureStore(connect(path))
    if not toy_store.is_right(store, images):
        return "wrong: features of other images"
    problems = verify(FeatureStore(connect(path))).problems
    return f"wrong: {problems[0]}" if problems else f"{found}, then completed"


def release(path: Path) -> None:
    """Remove the claims of the run that stopped."""
    for claim in path.rglob(".claims/*.json"):
        claim.unlink()


def main(options: Crashes) -> dict:
    """Crash at points spread over all runs; the counts of what happened."""
    rng, start = random.Random(options.seed), time.time()
    counts: Counter[str] = Counter()
    unexpected: list[str] = []
    cases = [(layout, grow) for layout in ("raw", "packed") for grow in (False, True)]
    total: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        toy_store.small_id_chunks(),
        toy_store.one_thread(),
    ):
        for case, (layout, grow) in enumerate(cases):
            base, path = Path(folder) / f"base{case}", Path(folder) / "s"
            if grow:
                toy_store.extract(base, BEFORE, layout)
                shutil.copytree(base, path)
            images = AFTER if grow else BEFORE
            name = f"{layout}, {'growth' if grow else 'creation'}"
            total[name] = calls_of(path, images, layout)
            wanted = options.points * (case + 1) // 4 - options.points * case // 4
            for number in sorted(rng.sample(range(total[name]), min(wanted, total[name]))):
                shutil.rmtree(path, ignore_errors=True)
                if grow:
                    shutil.copytree(base, path)
                try:
                    outcome = crash(path, images, layout, number)
                except Exception as error:
                    outcome = f"wrong: {type(error).__name__}: {error}"
                if outcome.startswith("wrong"):
                    unexpected.append(f"{name}, call {number}: {outcome}")
                    outcome = "wrong"
                counts[outcome] += 1
            shutil.rmtree(path, ignore_errors=True)
    return {
        "calls_of_a_run": total,
        "crash_points": sum(counts.values()),
        "outcomes": dict(sorted(counts.items())),
        "unexpected": unexpected,
        "seconds": round(time.time() - start, 1),
    }


if __name__ == "__main__":
    options = tyro.cli(Crashes)
    found = main(options)
    toy_store.report(found, options.out)
    print(*found["unexpected"][:20], sep="\n", file=sys.stderr)
    sys.exit(1 if found["unexpected"] else 0)
