"""Images per second of a selective extraction against one of all crops.

    python scripts/benchmarks/selective_extraction.py

Expected on two idle cores: 4 minutes, 1 GB of memory. Writes results/selective_extraction.json
beside this file. EfficientNet-Lite0 at 224, 448 and 672 pixels, 13 crops beside the base image;
the bundled textiles; each budget in turn, twice, after a first run that is not counted.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import statistics
import tempfile
from pathlib import Path

from workbench import processors
from workbench.extraction import ExtractRequest
from workbench.extraction.loaded_models import LoadedModels
from workbench.extraction.local import extract
from workbench.results import strict_json

RESULTS = Path(__file__).parent / "results" / "selective_extraction.json"
BUDGETS = (None, 0.0, 0.1, 0.25, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--select", default="norm")
    asked = parser.parse_args()
    loaded = LoadedModels()
    rates: dict[float | None, list[float]] = {budget: [] for budget in BUDGETS}
    load = [os.getloadavg()[0]]
    rate(None, asked, loaded)
    for _ in range(2):
        for budget in BUDGETS:
            rates[budget].append(rate(budget, asked, loaded))
    load.append(os.getloadavg()[0])
    full = statistics.mean(rates[None])
    rows = [
        {"budget": budget, "images_per_s": found, "times_all": statistics.mean(found) / full}
        for budget, found in rates.items()
    ]
    record = {
        "date": str(datetime.date.today()),
        "machine": {**processors.machine(), "load": load},
        "torch": importlib.metadata.version("torch"),
        "select": asked.select,
        "images": asked.limit,
        "rows": rows,
    }
    strict_json.write(record, RESULTS)


def rate(budget: float | None, asked: argparse.Namespace, loaded: LoadedModels) -> float:
    """Images per second of one extraction; without a budget of all crops, by the plain way."""
    with tempfile.TemporaryDirectory() as folder:
        request = ExtractRequest(
            dataset="bundled:textiles:train",
            models=["bundled:efficientnet_lite0"],
            scales=["1x", "2x", "3x"],
            store=f"{folder}/s.zarr",
            limit=asked.limit,
            select=None if budget is None else asked.select,
            budget=budget,
        )
        return extract(request, loaded=loaded).images_per_s


if __name__ == "__main__":
    main()
