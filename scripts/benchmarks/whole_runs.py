"""Time of the demo and of all bundled tables, alone on the machine and beside busy processes.

    python scripts/benchmarks/whole_runs.py [--busy 0 2] [--only demo tables]

Each run is the command as a user starts it, into a new folder, with empty user caches. A busy
process is a Python loop. `times_alone` is the time over the time alone: with two busy processes on
two cores, a fair share of the cores makes it 2.

Expected on 2 cores: 40 minutes, 3 GB of memory. Writes results/whole_runs.json after every run.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from busy_machine import workbench

from workbench import processors

RESULTS = Path(__file__).parent / "results" / "whole_runs.json"
COMMANDS = {"demo": ["demo"], "tables": ["tables"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    options = parser.parse_args()
    report = {
        "date": str(datetime.date.today()),
        **processors.machine(),
        "load_average_before": os.getloadavg()[0],
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")},
        "runs": [],
    }
    for busy in options.busy:
        for name in options.only:
            run = {"command": name, "busy": busy, "seconds": round(seconds(name, busy), 1)}
            alone = [r for r in report["runs"] if r["command"] == name and r["busy"] == 0]
            if busy and alone:
                run["times_alone"] = round(run["seconds"] / alone[0]["seconds"], 2)
            report["runs"].append(run)
            print(run, file=sys.stderr)
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")


def seconds(name: str, busy: int) -> float:
    """Wall-clock seconds of one command beside some busy processes."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            cache = {"XDG_CACHE_HOME": f"{folder}/cache"}
            workbench(*COMMANDS[name], "--out", f"{folder}/out", setting=cache)
            return time.perf_counter() - start
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
