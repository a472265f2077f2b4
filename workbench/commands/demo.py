"""``workbench demo``: the whole path on bundled models and images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the main job on models and images that come with the packages, from nothing.

    Features of three models at one and two scales, the rows of Table 2, a linear probe, two
    figures, and three sentences that say what was found. Example:

    workbench demo --out runs/demo
    """

    out: Path = Path("runs/demo")
    """Folder for train.zarr, test.zarr, tables and figures."""
    full: bool = False
    """All 2,000 bundled images instead of 600 (about five times as long)."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    limits: tuple[int, int] | None = None
    """Images for training and for testing, instead of 400 and 200."""

    def run(self) -> int:
        from analyses.reconstruction.table2 import layout
        from workbench.demo import DemoConfig, run
        from workbench.results.table_files import to_markdown

        config = DemoConfig(out=self.out, full=self.full, device=self.device, limits=self.limits)
        result = run(config, say=lambda line: print(line, file=sys.stderr))
        print(to_markdown(layout(result.reconstruction)))
        print()
        shown = ["source", "train_loss", "test_accuracy", "low", "high", "gmacs", "params"]
        print(to_markdown(result.probe[shown], ".4g"))
        print(f"\nTables, figures and both stores are in {self.out}.\n")
        for sentence in result.found:
            print(sentence)
        return 0
