"""What the paper's multimodal trainings take: Tables 1, 8 and 9. Trains and downloads nothing.

    python scripts/experiments/multimodal_paper.py [--json] [--tflops 200] [--write]
    sbatch scripts/slurm/multimodal.sbatch RECIPE.txt STORE.zarr CAPTIONS.json QUESTIONS.json RUN

A recipe of scripts/slurm/recipes/vlm holds the options of one row, which the job passes to
`workbench vlm train` and which are read here by the same parser. One minute on a core.
--write replaces the tables of docs/multimodal_paper.md, those of the audit of V* among them.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import runner

from workbench import arguments
from workbench.cli import form_of
from workbench.results.table_files import to_markdown
from workbench.tables.render import extra_tables
from workbench.vlm.config import VlmConfig
from workbench.vlm.paper import EXAMPLES, GPUS_GB, TFLOPS, USABLE, encoding, needs

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "scripts/slurm/recipes/vlm"
PAGE = ROOT / "docs/multimodal_paper.md"
COMMAND = "vlm train"
REST = ("--store", "STORE", "--questions", "QUESTIONS", "--out", "RUN")
"""What a recipe leaves to the job."""
AUDIT = ("vstar counts 1", "vstar chance 1", "vstar counts 8", "vstar chance 8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tflops", type=float, default=TFLOPS, help="sustained, of each GPU")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {PAGE.name}")
    asked = parser.parse_args()
    found = estimated(asked.tflops)
    if asked.write:
        runner.write_tables(f"{text(found)}\n\n{audit()}", PAGE)
    else:
        print(json.dumps(found, indent=1) if asked.json else text(found))


def options(recipe: Path) -> tuple[str, VlmConfig]:
    """Source and model of a recipe, as the command reads them."""
    words = shlex.split(recipe.read_text("utf-8"))
    found = arguments.parse(form_of(COMMAND), COMMAND, [*words, *REST])
    return found.source, found.vlm


def estimated(tflops: float) -> dict[str, Any]:
    """A record for each recipe, and one for each tower, at that many TFLOP/s."""
    read = {path.stem: options(path) for path in sorted(RECIPES.glob("*.txt"))}
    return {
        "tflops": tflops,
        "recipes": [{"recipe": name, **needs(*one, tflops=tflops)} for name, one in read.items()],
        "towers": encoding([source for source, _ in read.values()], tflops=tflops),
    }


def text(found: dict[str, Any]) -> str:
    """The records in two tables, with a sentence on each."""
    rows, towers = pd.DataFrame(found["recipes"]), pd.DataFrame(found["towers"])
    memory = pd.DataFrame(
        {
            "recipe": rows["recipe"],
            "stage": rows["stage"],
            "tokens x channels": [f"{r.tokens} x {r.channels}" for r in rows.itertuples()],
            "million trained": (rows["trained"] / 1e6).map("{:,.0f}".format),
            "at a time": rows["together"],
            "weights": rows["weights_gb"].map("{:.1f}".format),
            "gradients": rows["gradients_gb"].map("{:.1f}".format),
            "optimiser": rows["optimizer_gb"].map("{:.1f}".format),
            "activations": rows["activations_gb"].map("{:.1f}".format),
            "in all": rows["peak_gb"].map("{:.0f}".format),
            "fits a GPU of": [f"{gb:.0f}" if gb > 0 else "none" for gb in rows["gpu_gb"]],
            "encoding in every step": rows["every_step_gpu_hours"].map("{:.1f}".format),
        }
    )
    once = pd.DataFrame(
        {
            "tower": towers["tower"],
            "scales": towers["scales"],
            "TB of tokens": towers["once_tb"].map("{:.1f}".format),
            "once, for all trainings": towers["once_gpu_hours"].map("{:.1f}".format),
            "trainings": towers["trainings"],
            "in every step of all trainings": towers["every_step_gpu_hours"].map("{:.1f}".format),
        }
    )
    usable = ", ".join(f"{USABLE * gb:.0f} of {gb}" for gb in GPUS_GB)
    (length,) = {row["length"] for row in found["recipes"]}
    return "\n\n".join(
        [
            f"Memory of each GPU in GB, with `--together` conversations of {length} tokens at a "
            f"time (usable: {usable} GB), and GPU hours of one training that encodes in every "
            f"step, at {found['tflops']:g} TFLOP/s sustained:",
            to_markdown(memory, ""),
            f"GPU hours of encoding. LLaVA-1.5's {EXAMPLES:,} captions and conversations are "
            f"examples: pictures repeat among them and some have none, so that bytes and hours of "
            f"encoding once are upper bounds:",
            to_markdown(once, ""),
        ]
    )


def audit() -> str:
    """The printed V* scores as counts, and what chance allows, in Markdown."""
    parts = []
    for name in AUDIT:
        block = extra_tables.block(name)
        frame = pd.DataFrame(block["records"], columns=block["columns"])
        heading = f"### Table {name[-1]}: {block['title']}"
        parts += [heading, block["caption"], to_markdown(frame, "")]
    return "\n\n".join(parts)


if __name__ == "__main__":
    runner.run(main)
