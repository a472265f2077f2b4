"""Commands alone on the machine, and beside one and two busy processes, under several waits.

    python scripts/benchmarks/busy_machine.py [--rounds 3] [--busy 0 1 2] [--images 160]

`extract` is images/s of EfficientNet-Lite0 at 224 and 448 pixels on bundled textiles, decoding and
writing included; `reconstruct` and `probe` are runs per minute over features of 300 + 300 images.
Each is the command as a user starts it, in a process of its own. `chosen` is what the command sets
by itself; the others are given in its environment: OpenMP's own default, threads that sleep at
once, a longer spin, one thread. All settings run in turn within a round, each round begins with
another; the medians, and their ratios to the best setting of the same load, are what to read. A
busy process is a Python loop. `of_fair_share` is the rate over the share of the cores that is left,
times the best rate alone in the same run.

Expected on 2 cores: 15 minutes a round, 2 GB of memory. Writes results/busy_machine.json; `--busy`
and `--settings` measure some loads again and keep the rest.
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
import time
from collections.abc import Mapping
from pathlib import Path

from workbench import processors

RESULTS = Path(__file__).parent / "results" / "busy_machine.json"
MODEL = "bundled:efficientnet_lite0"
SETTINGS: dict[str, dict[str, str]] = {
    "chosen": {},
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 3000": {"GOMP_SPINCOUNT": "3000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BUSY = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", choices=BUSY, default=list(BUSY))
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "test"):
            workbench(*extraction(split, 300, f"{folder}/{split}.zarr"))
        for turn in range(options.rounds):
            first = turn % len(options.settings)
            for busy in sorted({0, *options.busy}):  # fair shares are of the best rate alone
                for setting in options.settings[first:] + options.settings[:first]:
                    rates = measured(Path(folder), SETTINGS[setting], busy, options.images)
                    print(f"{busy} busy, {setting}: {rates}", file=sys.stderr)
                    for command, rate in rates.items():
                        by_load = found.setdefault(command, {}).setdefault(f"{busy} busy", {})
                        by_load.setdefault(setting, []).append(rate)
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    measured_on = about(load, options)
    for name, rates in found.items():
        new = {at: {"measured_on": measured_on} | row for at, row in summary(rates).items()}
        report[name] = report.get(name, {}) | new
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


def measured(folder: Path, setting: dict[str, str], busy: int, images: int) -> dict[str, float]:
    """Rates of the three commands beside some busy processes."""
    splits = ["--train", f"{folder}/train.zarr", "--test", f"{folder}/test.zarr"]
    sources = ["--source", f"{MODEL}@224", "--source", f"{MODEL}@224+448"]
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with tempfile.TemporaryDirectory() as store:
            done = workbench(*extraction("train", images, f"{store}/s.zarr"), setting=setting)
        rates = {"extract": float(json.loads(done)["images_per_s"])}
        for command in (
            ["reconstruct", *splits, "--target", f"{MODEL}@448", *sources],
            ["probe", *splits, *sources],
        ):
            start = time.perf_counter()
            workbench(*command, "--json", setting=setting)
            rates[command[0]] = 60 / (time.perf_counter() - start)
    finally:
        for other in others:
            other.kill()
            other.wait()
    return rates


def extraction(split: str, images: int, store: str) -> list[str]:
    return [
        "extract", "--json", "--dataset", f"bundled:textiles:{split}", "--limit", str(images),
        "--model", MODEL, "--scales", "224", "448", "--store", store,
    ]  # fmt: skip


def workbench(*arguments: str, setting: Mapping[str, str] = {}) -> str:
    """Standard output of a command, without threads and waits of the caller's own."""
    own = (*processors.THREADS, *processors.WAITING)
    clean = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        env=clean | dict(setting), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def summary(found: dict[str, dict[str, list[float]]]) -> dict:
    """Medians, all rounds, each setting over the best of its load and over its fair share."""
    alone = max(statistics.median(rates) for rates in found["0 busy"].values())
    cores, result = processors.cores(), {}
    for load, by_setting in found.items():
        medians = {name: statistics.median(values) for name, values in by_setting.items()}
        best = max(medians.values())
        share = alone * cores / (cores + int(load.split()[0]))
        result[load] = {
            name: {
                "rate": round(medians[name], 1),
                "of_the_best": round(medians[name] / best, 3),
                "of_fair_share": round(medians[name] / share, 3),
                "rounds": [round(value, 1) for value in values],
            }
            for name, values in by_setting.items()
        }
    return result


def about(load: float, options: argparse.Namespace) -> dict:
    return {
        "date": str(datetime.date.today()),
        **processors.machine(),
        "load_average_before": load,
        "chosen_spins": processors.SPINS,
        "images": options.images,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")},
    }


if __name__ == "__main__":
    main()
