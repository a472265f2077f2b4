"""S2 paper, Figure 6: from which model size should image scales be added (segmentation)?

The paper prints no figures for S2 on Large; its curves for Base and for model size are Table 6's.
"""

from __future__ import annotations

from analyses.published.checkpoints import paper_model
from workbench.tables.specs.common import (
    BASE,
    BOOTSTRAP,
    CROPS,
    HUGE,
    LARGE,
    LINEAR_SEGMENTATION,
    MASK2FORMER,
    MODELS,
    SCALES,
    SCENES_SEGMENTATION,
    at,
    mask2former,
    miou,
)
from workbench.tables.specs.schema import Comparison, Label, Metric, Setup, TableSpec

ROWS: tuple[Label, ...] = (
    ("Base", "1x"),
    ("Base", "1x+2x"),
    ("Base", "1x+2x+3x"),
    ("Large", "1x"),
    ("Large", "1x+2x"),
    ("Huge", "1x"),
)


def _rows(models: tuple[str, str, str]) -> dict[Label, str]:
    named = dict(zip(("Base", "Large", "Huge"), models, strict=True))
    return {(size, times): at(named[size], times) for size, times in ROWS}


_DINO = (
    paper_model("DINOv2", "Base").name,
    paper_model("DINOv2", "Large").name,
    paper_model("DINOv2", "Giant").name,
)

TABLE = TableSpec(
    key="figure6",
    title="From which model size should scales be added?",
    question="Is S2 on a large model better than S2 on a base model at the same cost?",
    paper="s2",
    reference="Figure 6, section 3.3",
    label=("size", "scales"),
    rows=ROWS,
    metrics=(Metric(column="miou", name="mIoU (%)"),),
    setups={
        "bundled": Setup(
            quantities={"miou": miou(_rows((BASE, LARGE, HUGE)), data="scenes")},
            deviations=(
                MODELS,
                SCENES_SEGMENTATION,
                SCALES,
                LINEAR_SEGMENTATION,
                BOOTSTRAP,
                "The paper shows this figure as a picture only; its Base and model-size points are "
                "those of Table 6.",
            ),
            expected="half a minute for Large at two scales, on two cores",
        ),
        "paper": Setup(
            quantities={"miou": mask2former(_rows(_DINO), data="ade20k")},
            deviations=(
                "DINOv2 of the three families. The paper says in words that at the giant model's "
                "cost S2 of Large is better than S2 of Base by about 1 mIoU; it prints no "
                "figure.",
                MASK2FORMER,
                CROPS,
                BOOTSTRAP,
            ),
            expected="alone 6 decoders, 135 GPU hours at 200 (fp32: 20) TFLOP/s, nothing stored",
        ),
    },
    comparisons=(
        Comparison(
            question="S2 (1x, 2x) of Large against S2 (1x, 2x, 3x) of Base",
            metric="miou",
            a=("Large", "1x+2x"),
            b=("Base", "1x+2x+3x"),
        ),
    ),
    uses=("6",),
    figure="which_size",
)
