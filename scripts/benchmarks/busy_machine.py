"""Extraction alone on the machine, and beside one and two busy processes, under several waits.

    python scripts/benchmarks/busy_machine.py [--rounds 3] [--images 160]

Each figure is images/s of `workbench extract` (EfficientNet-Lite0 at 224 and 448 pixels on bundled
textiles, decoding and writing included) in a process of its own. `chosen` is what the command sets
by itself; the others are given in its environment: OpenMP's own default, threads that sleep at
once, other spins, one thread. All settings run in turn within a round; the medians and the ratios
to the best setting of the same load are what to read. A busy process is a Python loop.

Expected on 2 cores: 12 minutes, 2 GB of memory. Writes results/busy_machine.json.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from workbench import processors

RESULTS = Path(__file__).parent / "results" / "busy_machine.json"
MODEL = "bundled:efficientnet_lite0"
SETTINGS: dict[str, dict[str, str]] = {
    "chosen": {},
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 300": {"GOMP_SPINCOUNT": "300"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BUSY = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(options.rounds):
        for busy in BUSY:
            for name in options.settings:
                rate = images_per_s(SETTINGS[name], busy, options.images)
                found.setdefault(f"{busy} busy", {}).setdefault(name, []).append(rate)
                print(f"{busy} busy, {name}: {rate:.1f} images/s", file=sys.stderr)
    RESULTS.write_text(
        json.dumps(about(load, options) | {"loads": summary(found)}, indent=1) + "\n"
    )


def images_per_s(setting: dict[str, str], busy: int, images: int) -> float:
    """One extraction in a process of its own beside some busy ones."""
    own = (*processors.THREADS, *processors.WAITING)
    clean = {name: value for name, value in os.environ.items() if name not in own}
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "workbench", "extract", "--json"),
                    *("--dataset", "bundled:textiles:train", "--limit", str(images)),
                    *("--model", MODEL, "--scales", "224", "448", "--store", f"{folder}/s.zarr"),
                ],
                env=clean | setting, capture_output=True, text=True, check=True,
            )  # fmt: skip
        return float(json.loads(done.stdout)["images_per_s"])
    finally:
        for other in others:
            other.kill()
            other.wait()


def summary(found: dict[str, dict[str, list[float]]]) -> dict:
    """Medians, all rounds, and each setting over the best of its load."""
    result = {}
    for load, rates in found.items():
        medians = {name: statistics.median(values) for name, values in rates.items()}
        best = max(medians.values())
        result[load] = {
            name: {
                "images_per_s": round(medians[name], 1),
                "of_the_best": round(medians[name] / best, 3),
                "rounds": [round(value, 1) for value in values],
            }
            for name, values in rates.items()
        }
    return result


def about(load: float, options: argparse.Namespace) -> dict:
    return {
        "date": str(datetime.date.today()),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load_average_before": load,
        "chosen_spins": processors.SPINS,
        "images": options.images,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")},
    }


if __name__ == "__main__":
    main()
