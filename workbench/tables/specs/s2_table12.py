"""S2 paper, Table 12: concatenating or adding the maps of several scales.

Headline: concatenating wins by 1.1 to 1.2 mIoU.
"""

from __future__ import annotations

from collections.abc import Callable

from analyses.published.checkpoints import paper_model
from workbench.tables.specs.common import (
    BASE,
    BOOTSTRAP,
    CROPS,
    LINEAR_SEGMENTATION,
    MASK2FORMER,
    SCENES_SEGMENTATION,
    STAND_INS,
    at,
    mask2former,
    miou,
)
from workbench.tables.specs.schema import Comparison, Metric, Setup, TableSpec

DINO = ("DINOv2-Base-S2", "518+1036+1536")
CLIP = ("OpenCLIP-Base-S2", "256+512+1024")
SOURCES = {
    DINO: f"{paper_model('DINOv2', 'Base').name}@518+1036+1554",
    CLIP: f"{paper_model('OpenCLIP', 'Base').name}:256@256+512+1024",
}


def _quantities(sources: dict, data: str, measure: Callable = miou) -> dict:
    quantities: dict = {}
    for merge in ("add", "concat"):
        rows = {(*label, merge): source for label, source in sources.items()}
        quantities |= measure(rows, data=data, merge=merge)
    return quantities


TABLE = TableSpec(
    key="12",
    title="Merging scales: add or concatenate",
    question="How should the maps of several scales be merged?",
    paper="s2",
    reference="Table 12, appendix D",
    published="s2_table12_merging",
    label=("model", "scales", "merging"),
    metrics=(Metric(column="miou", name="mIoU (%)"),),
    setups={
        "bundled": Setup(
            quantities={"miou": _quantities({DINO: at(BASE, "1x+2x+3x")}, "scenes")},
            deviations=(
                STAND_INS.split(",")[0] + "; OpenCLIP's rows stay empty.",
                SCENES_SEGMENTATION,
                "Scales: 224, 448 and 672 in place of 518, 1036 and 1536.",
                LINEAR_SEGMENTATION,
                BOOTSTRAP,
            ),
            expected="seconds, once scenes are extracted",
        ),
        "paper": Setup(
            quantities={"miou": _quantities(SOURCES, "ade20k", mask2former)},
            comparable=True,
            deviations=(MASK2FORMER, CROPS, BOOTSTRAP),
            row_notes={
                (*DINO, merge): "run at 1554 pixels: 1536 is not a multiple of 518, and Table 6 "
                "prints 1554 for the same figure"
                for merge in ("add", "concat")
            },
            expected="alone 4 decoders, 84 GPU hours at 200 (fp32: 20) TFLOP/s, nothing stored",
        ),
    },
    comparisons=tuple(
        Comparison(
            question=f"{label[0]}: concatenate against add",
            metric="miou",
            a=(*label, "concat"),
            b=(*label, "add"),
        )
        for label in (DINO, CLIP)
    ),
    extra_tables=("dense 12",),
)
