"""One image's latency and peak memory: its crops batched, in sequence, in parallel, or uncut.

    python scripts/benchmarks/parallel_crops.py [--figure docs/img/latency.png]

Expected on two idle cores: 6 minutes, 2 GB of memory. Writes results/parallel_crops.json beside
this file, with the load of the machine before and after each model. Every way runs in a process of
its own; the --processes have one thread each, the other ways use all cores.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
from pathlib import Path

import pandas as pd

from workbench import processors
from workbench.cost import LatencyConfig, latency
from workbench.figures import latency as figures
from workbench.figures import style
from workbench.results import strict_json

RESULTS = Path(__file__).parent / "results" / "parallel_crops.json"
MODELS = ("bundled:efficientnet_lite0", "random:timm:vit_small_patch16_224")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scales", nargs="+", default=["1x", "2x", "3x", "4x"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figure", type=Path, help="draw the rows of the vision transformer there")
    asked = parser.parse_args()
    config = LatencyConfig(device=asked.device, crop_processes=asked.processes)
    found = []
    for model in MODELS:
        before = os.getloadavg()[0]
        rows = latency(model, asked.scales, config)
        load = {"before": before, "after": os.getloadavg()[0]}
        found.append({"model": model, "load": load, "rows": rows})
    record = {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "torch": importlib.metadata.version("torch"),
        "device": asked.device,
        "processes": asked.processes,
        "repeats": config.repeats,
        "models": found,
    }
    strict_json.write(record, RESULTS)
    if asked.figure is not None:
        drawn = figures.draw_latency(pd.DataFrame(found[-1]["rows"]))
        style.save(drawn, asked.figure.with_suffix(""), ["png"])


if __name__ == "__main__":
    main()
