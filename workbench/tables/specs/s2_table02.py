"""S2 paper, Table 2: how much of a larger model is a linear function of a multi-scale smaller one.

Headline: Base-S2 holds 98.1 % (ViT), 100.3 % (MAE) and 99.9 % (OpenCLIP) of what the huge or giant
model holds, on training images.
"""

from __future__ import annotations

from analyses.published.checkpoints import paper_model
from workbench.tables.specs.common import BASE, BOOTSTRAP, HUGE, LARGE, STAND_INS, TEXTILES, at
from workbench.tables.specs.schema import (
    Comparison,
    DataNote,
    Label,
    Metric,
    Quantity,
    Setup,
    TableSpec,
)

METRICS = (
    Metric(column="train_loss", name="train loss", better="lower", digits=4),
    Metric(column="train_info", name="train info (bits)", digits=3),
    Metric(column="train_ratio_pct", name="train ratio (%)"),
    Metric(column="test_loss", name="test loss", better="lower", digits=4),
    Metric(column="test_info", name="test info (bits)", digits=3),
    Metric(column="test_ratio_pct", name="test ratio (%)"),
)
PAIRS = (
    ("ViT", "Large", "Huge"),
    ("MAE", "Large", "Huge"),
    ("OpenCLIP", "Large", "Giant"),
    ("OpenCLIP", "Huge", "Giant"),
)
"""(family, target, reference) of each block."""


def _block(label: tuple[str, str], data: str, names: tuple[str, str, str, str], **options) -> dict:
    """Row → (source, options) of a block: Base, Base-S2 and the reference."""
    base, target, last, reference = names
    settings = {"target": at(target, "1x"), "reference": at(reference, "1x")} | options
    named = {"Base": at(base, "1x"), "Base-S2": at(base, "1x+2x"), last: at(reference, "1x")}
    pairs = tuple(sorted(settings.items()))
    return {(*label, row): (data, source, pairs) for row, source in named.items()}


def _quantities(rows: dict) -> dict[str, dict[Label, Quantity]]:
    return {
        metric.column: {
            label: Quantity(
                analysis="reconstruct", field=metric.column, data=data, source=source, options=pairs
            )
            for label, (data, source, pairs) in rows.items()
        }
        for metric in METRICS
    }


def _paper() -> dict:
    rows: dict = {}
    for family, target, reference in PAIRS:
        names = [paper_model(family, size).name for size in ("Base", target, reference)]
        block = (names[0], names[1], reference, names[2])
        rows |= _block((family, target), "imagenet", block, grid="pool")
    return rows


TABLE = TableSpec(
    key="2",
    title="Reconstruction of larger models",
    question="How much of a larger model's features is a linear function of a smaller model's?",
    paper="s2",
    reference="Table 2, section 4.2, appendix B",
    published="s2_table02_reconstruction",
    label=("family", "target", "source"),
    metrics=METRICS,
    setups={
        "bundled": Setup(
            quantities=_quantities(
                _block(("ViT", "Large"), "textiles", (BASE, LARGE, "Huge", HUGE))
            ),
            deviations=(
                STAND_INS,
                TEXTILES,
                "Features are read at the last block: 7 x 7, 8 x 8 and 9 x 9 tokens, averaged to "
                "the grid that a question's models share.",
                DataNote(
                    data="textiles",
                    text="With so few images the 1280 channels of the head convolution would be "
                    "overfitted.",
                ),
                "Fit: exact, from second moments, with a ridge chosen by cross-validation over "
                "images; the paper trains the map without one.",
                "Lite2 is hardly larger than Lite1, so it is not an upper bound, as the paper's "
                "huge models are: a ratio above 100 % means that Lite2's features predict Lite1's "
                "less well than the source's do.",
                BOOTSTRAP + " Ratios are resampled together with their reference.",
            ),
            expected="seconds, once textiles are extracted",
        ),
        "paper": Setup(
            quantities=_quantities(_paper()),
            comparable=True,
            deviations=(
                "Fit: exact, from second moments, with a ridge chosen by cross-validation over "
                "images; the paper trains the map without one.",
                "Tokens: those of the map. The paper averages over all output tokens and does not "
                "say whether the class token is one of them.",
                "Features: each model's default tap, for vision transformers the last block after "
                "the final norm; the paper names neither layer nor normalisation. Losses are in "
                "squared feature units and change with both: compare information and ratios first. "
                "The constant's loss that the paper's figures imply stands below.",
                "Base-S2: 224 and 448 pixels, which the paper states in section 4.3, not here.",
                "Patch 14 gives 16 x 16 tokens at 224 pixels and patch 16 gives 14 x 14: all maps "
                "are area-averaged to the grid they share. The paper does not say what it does.",
                BOOTSTRAP,
            ),
            expected="alone 4.6 GPU hours of forward passes at 200 TFLOP/s, 7.8 TB; then a pass "
            "over the stored tokens for each target",
        ),
    },
    comparisons=tuple(
        Comparison(
            question=f"{family} {target} from Base-S2 against from {other}",
            metric="test_info",
            a=(family, target, "Base-S2"),
            b=(family, target, other),
        )
        for family, target, reference in PAIRS
        for other in ("Base", reference)
    ),
    extra_tables=("audit",),
)
