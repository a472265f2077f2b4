"""What the paper's multimodal trainings take: Tables 1, 8 and 9. Trains and downloads nothing.

    python scripts/experiments/multimodal_paper.py [--json] [--tflops 200] [--write]
    sbatch scripts/slurm/multimodal.sbatch RECIPE.txt STORE.zarr CAPTIONS.json QUESTIONS.json RUN

A recipe of scripts/slurm/recipes/vlm holds the options of one row, which the job passes to
`workbench vlm train`. `workbench tables --profile paper --only 1 8 9 --dry-run` prints the same
estimates. 20 seconds on a core. --write replaces the tables of docs/multimodal_paper.md, those of
the audit of V* among them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
import runner

from workbench.results.table_files import to_markdown
from workbench.tables.pipeline import dry_run_text
from workbench.tables.render import extra_tables
from workbench.vlm.paper import TFLOPS, estimated

PAGE = Path(__file__).parents[2] / "docs/multimodal_paper.md"
AUDIT = ("vstar counts 1", "vstar chance 1", "vstar counts 8", "vstar chance 8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tflops", type=float, default=TFLOPS, help="sustained, of each GPU")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {PAGE.name}")
    asked = parser.parse_args()
    found = estimated(tflops=asked.tflops)
    said = dry_run_text.trainings(found, to_markdown)
    if asked.write:
        runner.write_tables(f"{said}\n\n{audit()}", PAGE)
    else:
        print(json.dumps(found, indent=1) if asked.json else said)


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
