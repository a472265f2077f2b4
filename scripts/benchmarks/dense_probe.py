"""The linear dense probe on real masks, against the same call in another checkout.

    python scripts/benchmarks/dense_probe.py --train TRAIN.zarr --test TEST.zarr \\
        --source MODEL@224 --source MODEL@224+448 --old CHECKOUT

Expected: on 367 and 233 images of 7 x 7 tokens 4 minutes on two idle cores, 1 GB of memory. Writes
results/dense_probe.json beside this file. Each source is probed in turn by both checkouts, each in
a process of its own, with torch's own number of threads. Figures of both must be equal.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

from workbench import processors

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "dense_probe.json"
FIGURES = ("miou", "low", "high", "pixel_accuracy", "l2")
SETTINGS = (*processors.THREADS, *processors.WAITING)
"""Of the shell; both checkouts run without them."""
ONE = """
import json, sys, time
import feature_store
from analyses import dense_probe
from workbench.datasets.target_maps import targets_for
stores = [feature_store.open(path) for path in sys.argv[1:3]]
start, clock = time.process_time(), time.perf_counter()
targets = tuple(targets_for(store, sys.argv[3], "segmentation") for store in stores)
table = dense_probe.compute(*stores, sources=[sys.argv[3]], targets=targets)
spent = {"cpu_seconds": time.process_time() - start, "seconds": time.perf_counter() - clock}
print(json.dumps(table.iloc[0].to_dict() | spent, default=float))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("--train", "--test", "--old"):
        parser.add_argument(name, required=True)
    parser.add_argument("--source", action="append", required=True)
    asked = parser.parse_args()
    rows = []
    for source in asked.source:
        old, new = (one(checkout, asked, source) for checkout in (asked.old, ROOT))
        rows.append(
            {
                "source": source,
                **{name: [old[name], new[name]] for name in FIGURES},
                "equal": all(old[name] == new[name] for name in FIGURES),
                "cpu_seconds": [old["cpu_seconds"], new["cpu_seconds"]],
                "seconds": [old["seconds"], new["seconds"]],
                "old_over_new": old["seconds"] / new["seconds"],
                "train_images": new["train_images"],
                "test_images": new["test_images"],
                "channels": new["channels"],
            }
        )
    found = {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "old_commit": commit(asked.old),
        "order": "each pair: old, new",
        "rows": rows,
        "load_average_at_end": os.getloadavg()[0],
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def one(checkout: str | Path, asked: argparse.Namespace, source: str) -> dict[str, float]:
    env = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    env["PYTHONPATH"] = str(checkout)
    command = [sys.executable, "-c", ONE, asked.train, asked.test, source]
    done = subprocess.run(command, env=env, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def commit(checkout: str) -> str:
    command = ["git", "-C", checkout, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
