"""S2 paper, Table 7 (Figure 2 g to i): depth estimation on NYUv2.

Headline: ViT-B with S2 0.508 against 0.508 of ViT-L; DINOv2-L with S2 equals DINOv2-g.
"""

from __future__ import annotations

from workbench.tables.specs.common import (
    BOOTSTRAP,
    CROPS,
    LINEAR_DEPTH,
    SCALES,
    SCENES_DEPTH,
    STAND_INS,
    VPD,
    paper_sources,
    rmse,
    vpd,
)
from workbench.tables.specs.s2_table06 import STAND_IN, WHOLE_HUGE
from workbench.tables.specs.schema import Comparison, Metric, Setup, TableSpec

BY_FAMILY = (
    ("ViT", "Base", "256+512+1024", "Large", "512"),
    ("ViT", "Base", "256+512+1536", "Huge", "512"),
    ("DINOv2", "Base", "504+1008", "Large", "504"),
    ("DINOv2", "Large", "504+1008", "Giant", "504"),
    ("OpenCLIP", "Base", "256+512+1024", "Large", "504"),
    ("OpenCLIP", "Base", "256+512+1536", "Huge", "504"),
)
"""(family, size with S2, its scales, larger model, its scale)."""

TABLE = TableSpec(
    key="7",
    title="NYUv2 depth: S2 against model size",
    question="Does a small model at several scales estimate depth as well as a larger model?",
    paper="s2",
    reference="Table 7, Figure 2 (g) to (i), appendix A",
    published="s2_table07_nyuv2",
    label=("family", "size", "scales"),
    metrics=(Metric(column="rmse", name="RMSE (m)", better="lower", digits=3),),
    setups={
        "bundled": Setup(
            quantities={"rmse": rmse(STAND_IN, data="scenes")},
            deviations=(
                STAND_INS,
                SCENES_DEPTH.plus("The mean depth everywhere gives 3.07 m on the default images."),
                SCALES,
                LINEAR_DEPTH,
                BOOTSTRAP,
            ),
            expected="seconds, once scenes are extracted",
        ),
        "paper": Setup(
            quantities={"rmse": vpd(paper_sources("s2_table07_nyuv2", WHOLE_HUGE), data="nyuv2")},
            comparable=True,
            deviations=(VPD, CROPS, BOOTSTRAP),
            row_notes={
                ("ViT", "Huge", "512"): "run at 504 pixels: patches of 14 do not divide 512",
            },
            expected="16 decoders, 140 GPU hours at 200 (fp32: 20) TFLOP/s, nothing stored",
        ),
    },
    comparisons=tuple(
        Comparison(
            question=f"{family} {size} ({scales}) against {larger}",
            metric="rmse",
            a=(family, size, scales),
            b=(family, larger, one),
        )
        for family, size, scales, larger, one in BY_FAMILY
    ),
    extra_tables=("cost 7", "dense 7"),
    figure="dense",
)
