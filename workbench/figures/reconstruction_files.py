"""The files of a reconstruction: Table 2 as Markdown, CSV and LaTeX, and the figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from analyses.reconstruction import rows
from analyses.reconstruction.table2 import layout
from analyses.statistics.information import bits_text
from feature_store import FeatureStore
from workbench.figures import style
from workbench.figures.curve import write_curve
from workbench.figures.reconstruction import (
    draw_information,
    draw_map,
    draw_pairs,
    draw_ranks,
    draw_scales,
)
from workbench.results.files import write_csv
from workbench.results.table_files import write_table

_BEYOND = (
    "train_isotropic_bits",
    "train_channelwise_bits",
    "train_full_bits",
    "dof",
    "tokens_per_channel",
    "test_ratio_low",
    "test_ratio_high",
)
"""Columns of beyond.csv: how far the paper's isotropic assumption is from true, and more."""


def write(result: xr.Dataset, store: FeatureStore, out: Path) -> list[Path]:
    """Write table2.md, .csv (full precision), .tex and the figures; their paths."""
    attrs = result.attrs
    caption = (
        f"Linear reconstruction from {attrs['train_images']} training images, evaluated on "
        f"{attrs['test_images']} test images; information is -log2(loss / loss of the mean)."
    )
    table, notes = rows(result), [*attrs["notes"], *attrs["warnings"]]
    paths = write_table(table, out / "table2", shown=layout(result), caption=caption, notes=notes)
    drawings = {"information": draw_information(result), "map": draw_map(result)}
    bits = table.rename(columns={"test_info_low": "low", "test_info_high": "high"})
    label = "information, bits\n(unseen images)"
    curve = write_curve(
        bits, store, out / "reconstruct_curve", metric="test_info_bits", label=label
    )
    if "alone" in result:
        drawings["scales"] = draw_scales(result)
    if "rank_info" in result:
        drawings["ranks"] = draw_ranks(result)
        paths.append(out / "beyond.csv")
        write_csv(result[[*_BEYOND]].to_dataframe().reset_index(), paths[-1])
    written = [path for name, drawn in drawings.items() for path in style.save(drawn, out / name)]
    return [*paths, *written, *curve]


def pair_rows(pairs: xr.Dataset) -> pd.DataFrame:
    """One row per ordered pair of different sources: ``train_info_bits``, ``gaussian_bits``."""
    table = pairs.to_dataframe().reset_index()
    columns = ["source", "target", "train_info_bits", "gaussian_bits"]
    return table.loc[table["source"] != table["target"], columns].reset_index(drop=True)


def write_pairs(pairs: xr.Dataset, out: Path) -> list[Path]:
    """Write pairs.md, .csv, .tex and the figure; their paths."""
    table = pair_rows(pairs)
    shown = table.assign(train_info_bits=table["train_info_bits"].map(lambda b: bits_text(b, 4)))
    return [
        *write_table(table, out / "pairs", shown=shown),
        *style.save(draw_pairs(pairs), out / "pairs"),
    ]
