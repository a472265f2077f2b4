"""``workbench status``: what a store holds and what is missing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import tyro


@dataclass(frozen=True, kw_only=True)
class Status:
    """Print, for every source of a store, what is done, what is missing and how to finish it.

    Reads commit records only, so it is quick and works while an extraction runs. Example:

    workbench status runs/demo/train.zarr --json
    """

    store: tyro.conf.Positional[str]
    """Folder or URL of the store."""
    json: bool = False
    """Print one JSON object on standard output."""
    watch: bool = False
    """Print again every few seconds until all sources are complete."""
    interval: float = 5.0
    """Seconds between two looks with --watch."""

    def run(self) -> int:
        import feature_store
        from feature_store.summary import as_json

        while True:
            found = as_json(feature_store.open(self.store))
            print(json.dumps(found) if self.json else text(found), flush=True)
            complete = all(source["complete"] for source in found["sources"])
            if not self.watch or (complete and found["sources"]):
                return 0
            time.sleep(self.interval)


def text(found: dict) -> str:
    """The same facts for a person: one block per source."""
    from feature_store.summary import size_text

    lines = [
        f"{found['store']}: {found['dataset']}, {found['images']} images, "
        f"{found['classes']} classes, {len(found['failed_images'])} unreadable"
    ]
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
        )
        if entry["finish"]:
            lines.append(f"    finish with: {entry['finish']}")
    return "\n".join(lines)
