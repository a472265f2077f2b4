"""``workbench demo``: the whole path on bundled models and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import feature_store
from analyses.statistics.bootstrap import interval
from feature_store import FeatureStore
from workbench.results.files import write_csv, write_text
from workbench.results.messages import note, show
from workbench.results.table_files import to_markdown
from workbench.results.terminal import show_table

SMALL, MIDDLE, LARGE = (f"bundled:efficientnet_lite{k}" for k in (0, 1, 2))
S2 = f"{SMALL}@1x+2x"
SOURCES = (f"{SMALL}@1x", S2, f"{MIDDLE}@1x", f"{LARGE}@1x")
PASSES = (((SMALL,), ("1x", "2x")), ((MIDDLE, LARGE), ("1x",)))
"""(models, scales) of each pass over the images."""
SPLITS = {"train": 400, "test": 200}
"""Images per split of the short demo: about three minutes on two cores."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the main job on models and images that come with the packages, from nothing.

    Features of three models at one and two scales, the rows of Table 2, a linear probe, two
    figures, and three sentences with the findings. Repeat it to resume after an interruption.

    Examples
    --------
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
        """Extract, analyse, draw and write; a second run reuses everything stored."""
        from analyses import reconstruction
        from analyses.reconstruction.table2 import layout
        from workbench.figures.reconstruction_files import write

        stores = tuple(self._extract(split) for split in SPLITS)
        note("reconstruct: how much of Lite2 is a linear function of the smaller models?")
        result = reconstruction.compute(
            *stores, target=SOURCES[-1], sources=SOURCES[:2], reference=SOURCES[2]
        )
        write(result, stores[0], self.out)
        note("probe: which features tell nominal weave from local and global defects?")
        probed = self._probe(stores)
        findings = (_s2_sentence(result), _larger_sentence(result), _probe_sentence(probed))
        write_text("\n".join(findings) + "\n", self.out / "found.md")
        show_table(layout(result))
        show("")
        shown = ["source", "train_loss", "test_accuracy", "low", "high", "gmacs", "params"]
        show_table(probed[shown], ".4g")
        show(f"\nTables, figures and both stores are in {self.out}.\n")
        show("\n".join(findings))
        return 0

    def _extract(self, split: str) -> FeatureStore:
        from workbench.extraction import ExtractRequest, extract

        path = str(self.out / f"{split}.zarr")
        limit = None if self.full else SPLITS[split]
        if self.limits:
            limit = self.limits[list(SPLITS).index(split)]
        for models, scales in PASSES:
            names = ", ".join(m.partition(":")[2] for m in models)
            note(f"extract ({split} images): {names} at {' + '.join(scales)}")
            request = ExtractRequest(
                dataset=f"bundled:textiles:{split}", models=models, scales=scales, store=path,
                limit=limit, device=self.device, shard_images=100,
            )  # fmt: skip
            if extract(request, log=note).interrupted:
                raise KeyboardInterrupt
        return feature_store.open(path)

    def _probe(self, stores: tuple[FeatureStore, ...]) -> pd.DataFrame:
        from analyses import probe
        from workbench.figures import style
        from workbench.figures.curve import draw_curve, with_cost

        probed = with_cost(probe.compute(*stores, sources=SOURCES), stores[1])
        write_csv(probed, self.out / "probe.csv")
        text = to_markdown(probed, ".4g")
        write_text(text + "\n", self.out / "probe.md")
        style.save(draw_curve(probed), self.out / "accuracy_against_cost")
        return probed


def _s2_sentence(result: xr.Dataset) -> str:
    """A sentence about the gain of the second scale, image by image."""
    one, two = result["test_info_bits"].values[:2]
    return (
        f"On unseen images the features of Lite0 have {one:.3f} bits of information about those of "
        f"Lite2 at one scale and {two:.3f} bits at two, without a new parameter: a difference of "
        f"{_difference(result, 0)}."
    )


def _larger_sentence(result: xr.Dataset) -> str:
    """A sentence about the same model beside a larger one."""
    middle = result["test_info_bits"].values[2]
    return (
        f"The features of the larger Lite1 have {middle:.3f} bits; Lite0 at two scales minus Lite1 "
        f"is {_difference(result, 2)}."
    )


def _difference(result: xr.Dataset, other: int) -> str:
    """Information of S2 minus that of another source, with its interval over the same images."""
    bits, resampled = result["test_info_bits"].values, result["resampled"].values
    low, high = interval(resampled[1] - resampled[other])
    decided = "" if low > 0 or high < 0 else ", not significant"
    difference = f"{bits[1] - bits[other]:+.3f} bits{decided}"
    return f"{difference} (95 % paired interval {low:+.3f} to {high:+.3f})"


def _probe_sentence(table: pd.DataFrame) -> str:
    """A sentence about linear probes: S2 against one scale, and against the largest model."""
    small, s2, _, large = table.itertuples(index=False)  # one row per entry of SOURCES, in order
    resampled = list(table.attrs["resampled"].values())
    parts = []
    for other, drawn, name in ((small, 0, "Lite0 at one scale"), (large, 3, "the larger Lite2")):
        difference = s2.test_accuracy - other.test_accuracy
        low, high = interval(np.subtract(resampled[1], resampled[drawn]))
        parts.append(
            f"{100 * difference:+.1f} points against {name} ({100 * low:+.1f} to {100 * high:+.1f})"
        )
    return (
        f"A linear probe of textile defects on Lite0-S2 is right for {100 * s2.test_accuracy:.1f} "
        f"% of the images: {', '.join(parts)}, with {s2.params / large.params:.2f} times Lite2's "
        f"parameters and {s2.gmacs / large.gmacs:.1f} times its multiply-accumulates."
    )
