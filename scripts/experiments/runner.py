"""What every list of runs here shares: its arguments, the runs that are missing, who measured.

A run has a ``path``: the JSON file that is written when it is done, and that says it is.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from feature_store import InputError
from workbench import processors
from workbench.results import strict_json
from workbench.results.files import write_text

if "torch" not in sys.modules:  # which reads the environment once; scripts import this one before
    processors.share()

BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
"""What encloses the tables of a documentation page."""


class Listed(Protocol):
    """One run of a list."""

    @property
    def path(self) -> Path:
        """Path of its result."""


R = TypeVar("R", bound=Listed)


def parser(text: str | None, summary: str = "print what is there") -> argparse.ArgumentParser:
    """Arguments of a script whose help is that text, with ``--summary``."""
    found = argparse.ArgumentParser(description=text, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--summary", action="store_true", help=f"{summary}, and stop")
    return found


def parsed(arguments: argparse.ArgumentParser) -> argparse.Namespace:
    """What is given; ``--data``, where the script has it, may be left out where nothing is run."""
    asked = arguments.parse_args()
    runs = not (asked.summary or getattr(asked, "gallery", False))
    if runs and getattr(asked, "data", ...) is None:
        arguments.error("--data DIR is needed")
    return asked


def missing(runs: Iterable[R]) -> list[R]:
    """Runs without a result."""
    return [run for run in runs if not run.path.exists()]


def do(runs: Iterable[R], measured: Callable[[R], dict]) -> None:
    """Measure and write, one after the other, what is missing."""
    for run in missing(runs):
        print(run.path.stem, flush=True)
        strict_json.write(measured(run), run.path)


def run(main: Callable[[], None]) -> None:
    """Run a script: a user's mistake is one line and exit status 2, an interruption one and 130."""
    try:
        main()
    except (InputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            f"{Path(sys.argv[0]).name}: interrupted; repeat the command to resume", file=sys.stderr
        )
        sys.exit(130)


class Stopwatch:
    """Time since it was made."""

    def __init__(self) -> None:
        self._start, self._clock = time.perf_counter(), time.process_time()

    def record(self) -> dict[str, float]:
        """``seconds``, and those of the processor."""
        return {
            "seconds": time.perf_counter() - self._start,
            "cpu_seconds": time.process_time() - self._clock,
        }


def provenance(*packages: str) -> dict[str, Any]:
    """Date, machine, and the version of torch, or of several packages."""
    found = {"date": str(datetime.date.today()), "machine": processors.machine()}
    if not packages:
        return {**found, "torch": importlib.metadata.version("torch")}
    return {**found, "versions": {name: importlib.metadata.version(name) for name in packages}}


def write_tables(text: str, page: Path) -> None:
    """Replace the tables of a documentation page, and nothing else on it."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", page)


def tables_of(page: Path) -> str:
    """The tables of a documentation page."""
    return page.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
