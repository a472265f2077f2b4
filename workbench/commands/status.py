"""``workbench status``: the contents of a store or a run, and what is missing from it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from shlex import quote

import tyro
from tqdm import tqdm

import feature_store
from feature_store import FeatureStore, InputError
from feature_store.claims import LEASE_SECONDS, ClaimStatus, clear
from feature_store.objects import connect
from feature_store.summary import size_text
from workbench import processors
from workbench.datasets.folder import skipped_text
from workbench.datasets.registry import skipped_files
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.training import status as runs

WINDOW = 600.0
"""Seconds of looks that the pace is taken from."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Print, for every source of a store, what is done, what is missing and how to finish it.

    For the folder of a training run, print its steps, checkpoints and latest metrics.

    Reads commit records and lists the folder of the images, so it is quick and works while an
    extraction runs.

    Examples
    --------
    workbench status runs/demo/train.zarr --json
    """

    store: tyro.conf.Positional[str]
    """Folder or URL of the store, or folder of a run."""
    json: bool = False
    """Print one JSON object on standard output."""
    watch: bool = False
    """Print again every few seconds, with shards per minute and the time left, until all sources
    are complete; waits for a store that is not there yet."""
    interval: float = 5.0
    """Seconds between two looks with --watch."""
    clear_claims: bool = False
    """Remove claims that are expired, invalid, or of a process of this machine that is gone."""

    def run(self) -> int:
        if self.interval <= 0:
            raise InputError(f"--interval is {self.interval:g}; expected more than 0 seconds")
        if runs.is_run(self.store):
            return self._of_run()
        if self.clear_claims:
            objects = connect(self.store)
            for claim in clear(objects):
                note(f"removed: {claim}")
        pace = Pace()
        skipped: dict[str, int] | None = None
        while True:
            store = self._open()
            if skipped is None:  # listed once: a large folder takes seconds
                skipped = skipped_files(store.dataset, store.dataset_path, store.path)
            found = store.status_json() | {
                "skipped_files": skipped,
                "processors": processors.describe(),
            }
            complete = all(source["complete"] for source in found["sources"])
            going_on = self.watch and not (complete and found["sources"])
            if going_on:
                pace.note(found["sources"], time.monotonic())
                found |= {"shards_per_minute": pace.rate, "seconds_left": pace.left}
            lines = strict_json.dumps(found) if self.json else text(found)
            show(lines if self.json or not going_on else f"{lines}\n{pace}")
            if not going_on:
                return 0
            time.sleep(self.interval)

    def _of_run(self) -> int:
        while True:
            found = runs.status(self.store)
            show(strict_json.dumps(found) if self.json else runs.text(found))
            if not self.watch or found["complete"]:
                return 0
            time.sleep(self.interval)

    def _open(self) -> FeatureStore:
        """The store; with --watch as soon as it is there."""
        objects, waited = connect(self.store), False
        while self.watch and objects.get("zarr.json") is None:
            if not waited:
                note(f"waiting for {self.store}, which does not exist yet")
            waited = True
            time.sleep(self.interval)
        try:
            return feature_store.open(self.store)
        except feature_store.StoreError:
            if not waited:
                raise
        time.sleep(self.interval)  # it was being created at that moment
        return feature_store.open(self.store)


class Pace:
    """How fast shards are done, from looks at the store."""

    def __init__(self) -> None:
        self.rate: float | None = None
        """Shards per minute over the last ten minutes of looks; None before the second one."""
        self.left: float | None = None
        """Seconds until all shards are done at this rate; None if none was done meanwhile."""
        self._looks: deque[tuple[float, int]] = deque()

    def note(self, sources: list[dict], now: float) -> None:
        """Take in a look: sources as ``status --json`` lists them, at a time in seconds."""
        done = sum(source["shards_done"] for source in sources)
        missing = sum(source["shards_total"] for source in sources) - done
        self._looks.append((now, done))
        while now - self._looks[0][0] > WINDOW:
            self._looks.popleft()
        since, before = self._looks[0]
        self.rate = 60 * (done - before) / (now - since) if now > since else None
        self.left = 60 * missing / self.rate if self.rate and self.rate > 0 else None

    def __str__(self) -> str:
        if self.rate is None:
            return "shards per minute and the time left follow with the next look"
        if self.left is None:
            seconds = self._looks[-1][0] - self._looks[0][0]
            return f"no shard done in the last {tqdm.format_interval(seconds)}"
        return f"{self.rate:.3g} shards/min, about {tqdm.format_interval(self.left)} left"


def text(found: dict) -> str:
    """The facts as text, one block per source."""
    lines = [
        f"{found['store']}: {found['dataset']}, {found['images']} images, "
        f"{found['classes']} classes, {len(found['failed_images'])} unreadable"
    ]
    if found.get("skipped_files"):
        lines.append(f"left out of the dataset: {skipped_text(found['skipped_files'])}")
    for entry in found["sources"]:
        state = "complete" if entry["complete"] else "INCOMPLETE"
        grid = "x".join(map(str, entry["grid"]))
        error = entry["float16_relative_rms"]
        lines.append(
            f"{entry['source']}: {state}, {entry['shards_done']}/{entry['shards_total']} shards, "
            f"{entry['images']} images, {entry['failed']} failed, {size_text(entry['bytes'])}"
        )
        lines.append(
            f"    {grid} tokens x {entry['channels']} channels {entry['dtype']}"
            + (f" (relative rounding error {error:.1e})" if error is not None else "")
            + f", identity {entry['identity'][:12]}, {entry['updated'] or entry['created']}"
            + (", RANDOM WEIGHTS" if entry["pretrained"] is False else "")
            + (", made by another tool" if entry["foreign"] else "")
        )
        if entry["finish"]:
            lines.append(f"    finish with: {entry['finish']}")
    lines += [claim_text(claim, found["store"]) for claim in found["claims"]]
    return "\n".join(lines)


def claim_text(claim: dict, store: str) -> str:
    """A claim, and what to do about it."""
    line = str(ClaimStatus(**claim))
    if claim["state"] != "held":
        return f"{line}; `workbench status {quote(store)} --clear-claims` removes it"
    left = LEASE_SECONDS - (claim["seconds"] or 0)
    return f"{line}; if that process is gone, others take over in {left:.0f} s"
