"""Start three extractions at once on a store that does not exist yet, again and again.

    python scripts/fuzz/starts.py --out scripts/fuzz/starts.json

Takes about 5 minutes, 2 GB of memory and 10 MB of disk on 2 cores. Every process must end with 0
(all shards are committed) or 1 (another process still computes some), at least one of them with 0,
and the store must equal that of a single run. Any other outcome is printed and ends the run with
status 1. The processes are forks of one that has imported everything, so that they start together.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm  # noqa: F401 imported here once, not in every fork
import torch
import torchvision  # noqa: F401
import tyro
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import toy_store

import feature_store
from feature_store import protocol
from feature_store.verify import verify
from workbench.extraction import ExtractRequest, extract

MODEL = "random:timm:test_vit.r160_in1k"
IMAGES, SHARD = 6, 2


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Options of the run."""

    starts: int = 50
    """Stores that three processes begin together."""
    out: Path | None = None
    """File for the JSON report; standard output otherwise."""


def main(options: Starts) -> dict:
    """Start, wait, compare; how the processes ended."""
    torch.set_num_threads(1)
    start, ends = time.time(), Counter[str]()
    unexpected: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        rng = np.random.default_rng(0)
        for k in range(IMAGES):
            Image.fromarray(rng.integers(0, 255, (160, 160, 3), np.uint8)).save(images / f"{k}.png")
        wait([begin(images, f"{folder}/whole")])
        whole = contents(f"{folder}/whole")
        for number in range(options.starts):
            store = f"{folder}/s{number}"
            codes = wait([begin(images, store) for _ in range(3)])
            ends[" ".join(map(str, sorted(codes)))] += 1
            if 0 not in codes or set(codes) - {0, 1}:
                unexpected.append(f"start {number}: exit codes {codes}")
            elif contents(store) != whole:
                unexpected.append(f"start {number}: the store differs")
    return {
        "starts": options.starts,
        "processes": 3,
        "exit_codes": dict(sorted(ends.items())),
        "unexpected": unexpected,
        "seconds": round(time.time() - start, 1),
    }


def begin(images: Path, store: str) -> int:
    """Fork an extraction; its process number."""
    request = ExtractRequest(
        dataset=f"folder:{images}",
        models=[MODEL],
        scales=["160"],
        store=store,
        device="cpu",
        shard_images=SHARD,
    )
    return fork(lambda: 1 if extract(request).busy else 0)


def fork(work: Callable[[], int]) -> int:
    """Run a function, whose result is the exit status, in a fork; the number of the process."""
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(children: list[int]) -> list[int]:
    """Exit statuses of forks."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def note_contents(store: str) -> int:
    """Write a digest of ids and features beside a complete and undamaged store."""
    opened = feature_store.open(store)
    problems = verify(opened).problems
    source = opened.source(opened.sources()[0])
    values = [source.shard(k)["tokens"].tobytes() for k in range(source.shard_count)]
    parts = [*problems] or [opened.image_ids.tolist(), values]
    Path(f"{store}.contents").write_text(protocol.identity({"parts": list(map(repr, parts))}))
    return 0


def contents(store: str) -> str:
    """That digest, found in a fork: no threads may run in the process that is forked."""
    wait([fork(lambda: note_contents(store))])
    return Path(f"{store}.contents").read_text()


if __name__ == "__main__":
    options = tyro.cli(Starts)
    found = main(options)
    toy_store.report(found, options.out)
    print(*found["unexpected"][:20], sep="\n", file=sys.stderr)
    sys.exit(1 if found["unexpected"] else 0)
