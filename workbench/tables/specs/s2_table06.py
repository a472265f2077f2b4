"""S2 paper, Table 6 (Figure 2 d to f): semantic segmentation on ADE20k.

Headline: Base with S2 beats Large and Huge in all three families (ViT 47.8 against 44.9).
"""

from __future__ import annotations

from workbench.tables.specs.common import (
    BASE,
    BOOTSTRAP,
    CROPS,
    HUGE,
    LARGE,
    LINEAR_SEGMENTATION,
    MASK2FORMER,
    SCALES,
    SCENES_SEGMENTATION,
    STAND_INS,
    at,
    mask2former,
    miou,
    paper_sources,
)
from workbench.tables.specs.schema import Comparison, Label, Metric, Setup, TableSpec

STAND_IN: dict[Label, str] = {
    ("ViT", "Base", "512"): at(BASE, "1x"),
    ("ViT", "Base", "256+512+1024"): at(BASE, "1x+2x"),
    ("ViT", "Base", "256+512+1536"): at(BASE, "1x+2x+3x"),
    ("ViT", "Large", "512"): at(LARGE, "1x"),
    ("ViT", "Huge", "512"): at(HUGE, "1x"),
}
BY_FAMILY = (
    ("ViT", "256+512+1024", "Large", "512"),
    ("ViT", "256+512+1536", "Huge", "512"),
    ("DINOv2", "518+1036", "Large", "518"),
    ("DINOv2", "518+1036+1554", "Giant", "518"),
    ("OpenCLIP", "256+512+1024", "Large", "518"),
    ("OpenCLIP", "256+512+1536", "Huge", "518"),
)
"""(family, scales of Base, larger model, its scale)."""
WHOLE_HUGE: dict[Label, str] = {("ViT", "Huge", "512"): "504"}
"""Patch 14 does not divide 512: run at 504."""


TABLE = TableSpec(
    key="6",
    title="ADE20k segmentation: S2 against model size",
    question="Does a small model at several scales segment as well as a larger model?",
    paper="s2",
    reference="Table 6, Figure 2 (d) to (f), appendix A",
    published="s2_table06_ade20k",
    label=("family", "size", "scales"),
    metrics=(Metric(column="miou", name="mIoU (%)"),),
    setups={
        "bundled": Setup(
            quantities={"miou": miou(STAND_IN, data="scenes")},
            deviations=(
                STAND_INS,
                SCENES_SEGMENTATION.plus(
                    "Calling every pixel wall gives 13 % on the default test images."
                ),
                SCALES,
                LINEAR_SEGMENTATION,
                BOOTSTRAP,
            ),
            expected="about 2 minutes with extraction, on two cores",
        ),
        "paper": Setup(
            quantities={
                "miou": mask2former(paper_sources("s2_table06_ade20k", WHOLE_HUGE), data="ade20k")
            },
            comparable=True,
            deviations=(MASK2FORMER, CROPS, BOOTSTRAP),
            row_notes={
                ("ViT", "Huge", "512"): "run at 504 pixels: patches of 14 do not divide 512",
            },
            expected="15 decoders, 255 GPU hours at 200 (fp32: 20) TFLOP/s, nothing stored",
        ),
    },
    comparisons=tuple(
        Comparison(
            question=f"{family} Base ({scales}) against {larger}",
            metric="miou",
            a=(family, "Base", scales),
            b=(family, larger, one),
        )
        for family, scales, larger, one in BY_FAMILY
    ),
    extra_tables=("cost 6", "dense 6"),
    figure="dense",
)
