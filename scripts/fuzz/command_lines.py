"""Malformed command lines: none may end in a traceback or print a raw control character.

Purpose   Take a valid line of a command, break it in one or two places (values, options, order,
          control characters), and run it in this process, in a folder with small stores.
Command   python scripts/fuzz/command_lines.py --lines 1000 --out scripts/fuzz/command_lines.json
Takes     2 minutes on 2 cores, 2 GB of memory.
Found     Of 1,000 lines none: no exception, no exit status but 0, 1 and 2, no control character in
          the output, and none that ran for more than a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import re
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image
from tornado.platform.asyncio import BaseAsyncIOLoop

import feature_store
from workbench.cli import COMMANDS, main

MODEL = "random:timm:test_vit.r160_in1k"
SOURCE, WIDER = "m:a#f@8", "m:a#f@8+16"
STORES = ["--train", "train.zarr", "--test", "test.zarr"]
LINES = {
    "models": ["--json"],
    "extract": [
        *("--dataset", "folder:photos", "--store", "new.zarr", "--model", MODEL),
        *("--scales", "160", "--device", "cpu", "--workers", "0", "--limit", "1"),
    ],
    "status": ["train.zarr", "--json"],
    "verify": ["train.zarr", "--report-only"],
    "cost": ["--model", MODEL, "--scales", "160"],
    "reconstruct": [*STORES, "--target", "m:b#f@8", "--source", SOURCE, "--ridge", "0.1"],
    "similarity": ["--store", "train.zarr", "--source", SOURCE, "--source", WIDER, "--k", "3"],
    "probe": [*STORES, "--source", SOURCE, "--l2", "0.1"],
    "memorize": ["--train", "train.zarr", "--source", SOURCE],
    "select": [*STORES, *("--target", "m:b#f@8", "--model", "m:a#f", "--scales", "8", "16")],
    "hard-examples": [*STORES, "--source", SOURCE, "--source", WIDER, "--source", "m:b#f@8"],
    "shape-law": ["--plan", "star"],
    "encoder-law": ["--resamples", "0"],
    "look": ["train.zarr", "--image", "0", "--source", SOURCE, "--out", "pictures"],
    "tables": ["--check", "photos"],
    "upgrade": ["old.zarr"],
    "export": ["train.zarr", "--source", SOURCE, "--to", "npz", "--out", "features.npz"],
    "pretrain": [
        *("--model", "timm:test_vit:32", "--dataset", "folder:photos", "--val", "bundled:photos"),
        *("--scales", "1x", "--epochs", "1", "--batch", "2", "--out", "run"),
    ],
    "vlm train": [
        *("--store", "train.zarr", "--source", SOURCE, "--questions", "runs.csv"),
        *("--stage", "projector", "--out", "run"),
    ],
    "vlm eval": ["--run", "photos", "--store", "test.zarr", "--questions", "runs.csv"],
    "vlm answer": ["--run", "photos", "--image", "photos/0.png", "--question", "What?"],
    "robot demos": ["--task", "push-v3", "--seed", "0", "--size", "64", "--out", "demos"],
    "robot train": [
        *("--store", "train.zarr", "--demos", "photos", "--source", SOURCE, "--out", "run"),
    ],
    "robot rollout": ["--run", "photos", "--positions", "2", "--seed", "1"],
    "explore": ["train.zarr", "--port", "0", "--no-browser"],
    "demo": ["--device", "cpu"],
}
"""Valid lines; the inputs of commands that train are refused, as they would train for minutes."""
ENDS = {
    "tables": ["--only", "no such table"],
    "demo": ["--limits", "6", "3"],
    "robot demos": ["--episodes", "0"],
}
"""Command to what is added to its lines, so that a valid one takes seconds."""
WRITERS = ("export", "pretrain", "vlm train", "robot demos", "robot train")
"""Commands whose `--out` stays."""
JUNK = (
    *("", " ", "-1", "0", "1", "1e309", "nan", "inf", "-inf", "1_000", "0x10", "½", "９"),
    *("99999999999999999999", "1.5", "None", "true", "[]", "{}", "=1+1", "--", "-", "---", "@"),
    *("a@", "@224", "m:a#f@", "m:a#f@8+", "m:a#f@8+8", "m:a#f@8.t0", "timm:", "timm:no_such_model"),
    *("folder:", "folder:no/such", "csv:runs.csv", "hf:", "torchvision:", "bundled:"),
    *("view:-1:folder:photos", "view:1:view:1:folder:photos", "zip://", "file:///no/such", "#"),
    *("no/such/file", "photos", "runs.csv", "broken.zarr", "train.zarr/label", "../train.zarr"),
    *("\x1b[31m", "a\x00b", "a\nb", "\u202eabc", "\udcff", "é" * 300, "x" * 5000),
    *("\t", "%s%n", "$HOME", "%(x)s"),
)  # fmt: skip
NEVER = ("--watch", "--full", "--help", "--engine", "--scheduler", "--compile", "--out", "--config")
"""Options that wait, take minutes, or write where the value says."""
SECONDS = 60
OLD = Path(__file__).parents[2] / "tests" / "data" / "half_filled.zarr"
"""A store of protocol version 1."""


def inputs(folder: Path) -> None:
    """Two stores, a broken one, photographs and a table of runs."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        labels = np.arange(24) % 3
        ids = [f"{name}/{k}" for k in range(24)]
        store = feature_store.create(
            folder / f"{name}.zarr", dataset=f"folder:{name}", image_ids=ids, labels=labels,
            label_names=["=a", "\x1b[31mb", "c"], shard_images=16,
        )  # fmt: skip
        for source in ("m:a#f@8", "m:a#f@16", "m:b#f@8"):
            writer = store.add_source(
                source, manifest={"model": source}, grid=(2, 2), channels=4, prefix=0,
                dtype="float32",
            )  # fmt: skip
            for shard in writer.missing():
                count = len(writer.rows(shard))
                writer.commit(shard, rng.standard_normal((count, 2, 2, 4)).astype("f4"), None, {})
    shutil.copytree(OLD, folder / "old.zarr")
    (folder / "broken.zarr").mkdir()
    (folder / "broken.zarr" / "zarr.json").write_text("{")
    (folder / "photos").mkdir()
    for k in range(2):
        pixels = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{k}.png")
    (folder / "runs.csv").write_text("compute,value,metric\n1,2,3\n2,3,2\n4,5,1\n")


def options_of(command: str) -> list[str]:
    """The options that the command's help names."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    found = sorted(set(re.findall(r"--[a-z][a-z0-9.-]+", shown.getvalue())))
    return [name for name in found if name not in NEVER]


def broken(command: str, options: list[str], rng: np.random.Generator) -> list[str]:
    """The valid line of a command with one or two faults."""
    line = list(LINES[command])
    never = set(NEVER) - ({"--out"} if command in WRITERS else set())

    def junk() -> str:
        return JUNK[rng.integers(len(JUNK))]

    for _ in range(rng.integers(1, 3)):
        at, fault = int(rng.integers(len(line) + 1)), rng.integers(8)
        if fault <= 1 and line:
            line[at % len(line)] = junk()
        elif fault == 2 and line:
            del line[at % len(line)]
        elif fault == 3 and line:
            line.insert(at, line[at % len(line)])
        elif fault == 4:
            line.insert(at, "--no-such-option")
        elif fault <= 6 and options:
            line[at:at] = [options[rng.integers(len(options))], junk()]
        elif len(line) > 1:
            other = int(rng.integers(len(line)))
            line[at % len(line)], line[other] = line[other], line[at % len(line)]
    # What is written goes below the folder; a line never waits for more to come.
    return [text for text in line if text not in never]


class TooLongError(BaseException):
    """No handler of the commands catches it."""


def run(arguments: list[str], seconds: float = SECONDS) -> tuple[str, str]:
    """Outcome of one line (`0`, `1`, `2` or a fault), and the fault's last words."""

    def stop(number: int, frame: object) -> None:
        raise TooLongError

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status: object = main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    except TooLongError:
        return "too long", ""
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return type(error).__name__, f"{error} ({Path(where.filename).name}:{where.lineno})"[:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    text = (out.getvalue() + err.getvalue()).replace("\r", "")
    raw = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    if raw:
        return "control character", repr(text[max(raw.start() - 60, 0) : raw.end() + 20])
    return str(status), "" if status in (0, 1, 2) else err.getvalue()[-300:]


def fuzz(lines: int, seed: int, seconds: float = SECONDS) -> dict:
    """Run so many broken lines in a new folder; counts of outcomes, and the findings."""
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    findings = []
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "inner"  # `../` stays inside
        folder.mkdir()
        inputs(folder)
        os.chdir(folder)
        try:  # a page that is served would be served for ever
            BaseAsyncIOLoop.start, served = lambda loop: None, BaseAsyncIOLoop.start
            known = {name: options_of(name) for name in LINES if name in COMMANDS}
            for number in range(lines):
                command = list(known)[number % len(known)]
                line = [*command.split(), *broken(command, known[command], rng)]
                if "--check" not in line or "None" in line:  # "None" counts as no value
                    line += ENDS.get(command, [])
                outcome, words = run(line, seconds)
                counts[outcome] += 1
                if outcome not in ("0", "1", "2"):
                    findings.append({"line": line, "outcome": outcome, "words": words})
        finally:
            BaseAsyncIOLoop.start = served
            os.chdir(here)
    return {"lines": lines, "seed": seed, "outcomes": dict(sorted(counts.items())),
            "findings": findings}  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = fuzz(asked.lines, asked.seed) | {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    report = json.dumps(found, indent=1)
    print(report)
    if asked.out:
        asked.out.write_text(report + "\n", encoding="utf-8")
    raise SystemExit(1 if found["findings"] else 0)
