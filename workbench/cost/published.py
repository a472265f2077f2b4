"""The #Params and #FLOPs columns of the published tables beside what this package counts.

The paper's figures follow no single rule: sometimes all of attention is counted, sometimes one of
its two products, sometimes none; some rows belong to another size or model than their label
says. For each cell that differs by more than 3 % the rules and labels in question are tried, and
the explanation names the one that reproduces the printed figure to within 0.5 %.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from analyses import published
from analyses.published.checkpoints import paper_model
from feature_store.errors import InputError
from workbench.cost.counting import macs, params
from workbench.models import registry

TABLES = {
    5: "s2_table05_imagenet",
    6: "s2_table06_ade20k",
    7: "s2_table07_nyuv2",
    8: "s2_table08_vqa",
    9: "s2_table09_mllm",
    10: "s2_table10_robotics",
    13: "s2_table13_throughput",
}
"""Table number → name of its data."""
TOLERANCE = 0.03
"""Relative deviation above which a cell needs an explanation."""
MATCH = 0.005
"""Largest relative deviation of a reading that explains a printed figure."""

ATTENTION_RULES = {
    1.0: "",
    0.5: "one of the two attention products left out",
    0.0: "both attention products left out",
}
"""Share of the attention products counted → its explanation in words."""


@dataclass(frozen=True, kw_only=True)
class RowReading:
    """One way of reading a row: which model at which sizes was counted."""

    family: str
    """Family whose model is counted."""
    size: str
    """Size of that model."""
    sides: tuple[int, ...]
    """Sides of the scales in pixels."""
    says: str = ""
    """Difference from the row's label, in words."""


RESIZED: tuple[tuple[tuple[int, ...], tuple[int, ...], str], ...] = (
    # The scale lists of tables 8 and 9 end in 672; section 3.2 of the text says 896.
    ((224, 448, 672), (224, 448, 896), "third scale 896, as the text says, not 672"),
    # Table 7 gives 504; table 6 runs the same models at 518.
    ((504,), (518,), "counted at 518 as in table 6, not at 504"),
    ((504, 1008), (518, 1036), "counted at 518 as in table 6, not at 504"),
    ((504, 1008, 1512), (518, 1036, 1554), "counted at 518 as in table 6, not at 504"),
    ((224,), (256,), "as if counted at 256, not at 224"),
)
"""Sizes that may have been counted instead of those a row prints: (printed, counted, words)."""

SWAPPED: tuple[tuple[tuple[str, str], tuple[str, str], str], ...] = (
    (("DINOv2", "Base"), ("ViT", "Base"), "the figure of ViT-B/16, not of DINOv2-B/14"),
    (("DINOv2", "Large"), ("ViT", "Large"), "the figure of ViT-L/16, not of DINOv2-L/14"),
    (("DINOv2", "Giant"), ("ViT", "Huge"), "the figure of ViT-H/14, not of DINOv2-g/14"),
)
"""Models that may have been counted instead of the one a row names: (printed, counted, words)."""


def published_cost_columns(table: int) -> pd.DataFrame:
    """One table's cost columns: printed, counted, deviation, and why where they differ.

    Returns
    -------
    pandas.DataFrame
        One row per row of the table: ``family``, ``size``, ``scales``, ``model``; printed
        ``params_m`` and ``flops_g`` (and ``images_per_s`` if the table has it); counted
        ``params_m_counted`` (classification head left out) and ``gmacs`` (all of attention
        counted); ``params_deviation`` and ``gmacs_deviation``, (counted - printed) / printed;
        ``params_explanation`` and ``gmacs_explanation``, empty up to 3 %; ``gmacs_explained``, the
        figure under the reading that the explanation names.

    Raises
    ------
    InputError
        A table other than 5 to 10 and 13.
    """
    if table not in TABLES:
        raise InputError(f"table {table} has no cost columns here; there are {list(TABLES)}")
    printed = published.load(TABLES[table])
    counted = pd.DataFrame([_row(row) for row in printed.to_dict("records")])
    columns = ["family", "size", "scales", "params_m", "flops_g"]
    columns += [c for c in ("images_per_s",) if c in printed]
    return pd.concat([printed[columns], counted], axis=1)


def _row(row: dict) -> dict:
    sides = tuple(int(side) for side in str(row["scales"]).split("+"))
    label = RowReading(family=row["family"], size=row["size"], sides=sides)
    model = paper_model(label.family, label.size).name
    counted_params = params(model) / 1e6
    gmacs = counted(label, 1.0)
    found = {
        "model": model,
        "params_m_counted": counted_params,
        "params_deviation": counted_params / row["params_m"] - 1,
        "params_explanation": _explain_params(row["params_m"], counted_params),
        "gmacs": gmacs,
        "gmacs_deviation": gmacs / row["flops_g"] - 1,
    }
    explanation, explained = "", gmacs
    if abs(found["gmacs_deviation"]) > TOLERANCE:
        explanation, explained = explain_gmacs(label, row["flops_g"])
    return found | {"gmacs_explanation": explanation, "gmacs_explained": explained}


def counted(reading: RowReading, attention: float) -> float:
    """GMACs of a reading, with a share of the attention products.

    The first scale is the size of a crop; sides that the patch does not divide lose the rest, as
    a strided convolution does.
    """
    name = paper_model(reading.family, reading.size).name
    crop = reading.sides[0]
    built = registry.build(name)
    patch = registry.resolve(name).stride
    one = macs(name, built.taps[0], crop // patch * patch, crop // patch * patch)
    crops = sum((side / crop) ** 2 for side in reading.sides)
    return crops * (one.linear + attention * one.attention) / 1e9


def readings(label: RowReading) -> Iterator[RowReading]:
    """The label as printed first, then with another model, other sizes, and both."""
    model = (label.family, label.size)
    sizes = [(label.sides, "")] + [(new, says) for old, new, says in RESIZED if old == label.sides]
    swaps = [(model, "")] + [(new, says) for old, new, says in SWAPPED if old == model]
    for (sides, resized), ((family, size), swapped) in itertools.product(sizes, swaps):
        says = "; ".join(filter(None, [resized, swapped]))
        yield RowReading(family=family, size=size, sides=sides, says=says)


def explain_gmacs(label: RowReading, printed: float) -> tuple[str, float]:
    """Words for the first reading that reproduces a printed figure to 0.5 %, and its GMACs."""
    for reading in readings(label):
        by_rule = {share: counted(reading, share) for share in ATTENTION_RULES}
        share = min(by_rule, key=lambda share: abs(by_rule[share] / printed - 1))
        if abs(by_rule[share] / printed - 1) <= MATCH:
            return "; ".join(filter(None, [reading.says, ATTENTION_RULES[share]])), by_rule[share]
    return "", counted(label, 1.0)


def _explain_params(printed: float, found: float) -> str:
    """The model that a printed parameter count belongs to, if it differs by more than 3 %."""
    if math.isnan(printed) or abs(found / printed - 1) <= TOLERANCE:
        return ""
    for family, size in (("ViT", "Huge"), ("OpenCLIP", "Giant")):
        if abs(params(paper_model(family, size).name) / 1e6 / printed - 1) <= MATCH:
            return f"the parameters of {family} {size}; this model has {found:,.0f} M"
    return ""
