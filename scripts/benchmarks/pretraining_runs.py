"""Minutes of the longest runs of scripts/experiments/pretraining.py.

    python scripts/benchmarks/pretraining_runs.py

Expected: 8 minutes on 2 idle cores, 2 GB of memory, 100 MB of disk. Writes
results/pretraining_runs.json beside this file.

Each run is made twice, with few and with more images, as the experiment makes it (training, the
features of 6,000 images at two scales, two probes), on images that are rendered before. Their
difference gives the seconds of a step, and what is left the seconds that do not grow with steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
import pretraining
import runner

RESULTS = Path(__file__).parent / "results" / "pretraining_runs.json"
STEPS = {"supervised": (200, 1200), "dinov2": (80, 400)}
"""Steps of the shorter and of the longer run; both evaluate as often."""
RUNS = (("dinov2", "small-S2"), ("dinov2", "large"), ("supervised", "small"))


def longest(objective: str, row: str) -> pretraining.Run:
    """The run of a row that sees the most images."""
    asked = argparse.Namespace(objective=[objective], row=[row], seed=[0])
    return max(pretraining.listed(asked), key=lambda run: run.images)


def timed(run: pretraining.Run, folder: Path) -> float:
    start = time.perf_counter()
    pretraining.measured(run, folder)
    return time.perf_counter() - start


def minutes(run: pretraining.Run, folder: Path) -> dict:
    """What a run takes, from a short and a longer one."""
    batch, counts = pretraining.BATCH[run.objective], STEPS[run.objective]
    seconds = [timed(replace(run, images=count * batch), folder) for count in counts]
    step = (seconds[1] - seconds[0]) / (counts[1] - counts[0])
    fixed = seconds[0] - counts[0] * step
    steps = run.images // batch
    return {
        "images": run.images, "steps": steps, "seconds_of_a_step": step, "seconds_besides": fixed,
        "minutes": (steps * step + fixed) / 60,
    }  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    found = {**runner.provenance("torch", "timm", "lightly"), "load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as place:
        for side in pretraining.PROBED:
            pretraining.pictures(Path(place), side)
        for objective, row in RUNS:
            found[f"{objective} {row}"] = minutes(longest(objective, row), Path(place))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
