"""Reconstruction results laid out as the paper's Table 2, beside its figures if it has them."""

from __future__ import annotations

import re

import pandas as pd
import xarray as xr

from analyses import published
from analyses.reconstruction.result import rows
from analyses.statistics.information import PERFECT, bits_text
from feature_store.source import Source

_SIZES = {
    "Base": r"(^|[_-])(base|b)([_-]|$)",
    "Large": r"(^|[_-])(large|l)([_-]|$)",
    "Huge": r"(^|[_-])(huge|h)([_-]|$)",
    "Giant": r"(^|[_-])(giant|bigg|g)([_-]|$)",
}
_FIGURES = (
    "train_loss",
    "train_info",
    "train_ratio_pct",
    "test_loss",
    "test_info",
    "test_ratio_pct",
)


def paper_name(source: str) -> tuple[str, str] | None:
    """Model class and row of the paper's Table 2 that a source is, or None.

    >>> paper_name("timm:vit_base_patch16_224.mae@224+448")
    ('MAE', 'Base-S2')
    >>> paper_name("bundled:efficientnet_lite0@1x") is None
    True
    """
    parsed = Source.parse(source)
    model = parsed.model.lower()
    if model.startswith("timm:vit_") and model.endswith(".mae"):
        family = "MAE"
    elif model.startswith("timm:vit_") and re.search(r"\.(\w*_)?in21k$", model):
        family = "ViT"
    elif model.startswith("open_clip:vit-") and "laion2b" in model:
        family = "OpenCLIP"
    else:
        return None
    arch = model.partition(":")[2].partition("/")[0].partition(".")[0]
    size = next((name for name, form in _SIZES.items() if re.search(form, arch)), None)
    if size is None:
        return None
    return family, size + ("-S2" if len(parsed.scales) > 1 else "")


def published_row(target: str, source: str) -> pd.Series | None:
    """The paper's figures for this pair, or None where the paper has no such row."""
    goal, start = paper_name(target), paper_name(source)
    if goal is None or start is None or goal[0] != start[0]:
        return None
    table = published.load("s2_table02_reconstruction")
    found = table[
        (table["family"] == goal[0]) & (table["target"] == goal[1]) & (table["source"] == start[1])
    ]
    return None if found.empty else found.iloc[0][list(_FIGURES)]


def layout(result: xr.Dataset) -> pd.DataFrame:
    """One row per source with headings for readers: bits, percentages, 95 % intervals.

    Columns ``paper: ...`` follow if the paper's Table 2 has any of the rows.
    """
    table = rows(result)
    shown = pd.DataFrame(
        {
            "target": table["target"],
            "source": table["source"],
            "train loss": table["train_loss"].map("{:.4g}".format),
            "train info (bits)": table["train_info_bits"].map(bits_text),
            "train ratio (%)": table["train_ratio"].map(_percent),
            "test loss": table["test_loss"].map("{:.4g}".format),
            "test info (bits)": table["test_info_bits"].map(bits_text),
            "95 % interval": [
                "perfect" if low >= PERFECT else f"{bits_text(low)} to {bits_text(high)}"
                for low, high in zip(table["test_info_low"], table["test_info_high"], strict=True)
            ],
            "test ratio (%)": table["test_ratio"].map(_percent),
            "ridge": table["ridge"].map("{:.3g}".format),
        }
    )
    paper = [published_row(result.attrs["target"], source) for source in table["source"]]
    if any(row is not None for row in paper):
        for name in _FIGURES:
            shown[f"paper: {name.replace('_pct', ' (%)').replace('_', ' ')}"] = [
                "" if row is None else f"{row[name]:g}" for row in paper
            ]
    return shown


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{100 * value:.1f}"
