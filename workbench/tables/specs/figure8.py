"""S2 paper, Figure 8: S2 on a convolutional network, with a scale below native (0.5x)."""

from __future__ import annotations

from analyses.published.checkpoints import paper_model
from workbench.tables.specs.common import (
    BASE,
    CONVERGED,
    CROPS,
    HUGE,
    LARGE,
    LINEAR_DEPTH,
    MODELS,
    TEXTILES,
    UPERNET,
    VPD,
    WILSON,
    at,
    miou,
    rmse,
    scenes_for,
    top1,
    upernet,
    vpd,
)
from workbench.tables.specs.schema import Label, Metric, Setup, TableSpec

HEADS = (
    CONVERGED,
    "Segmentation head: linear on single tokens, as many as the depth head's, in place of UPerNet. "
    + LINEAR_DEPTH,
)
INTERVALS = WILSON + " Segmentation and depth: bootstrap over test images."
BASE_ONLY = "S2 of Base alone; the paper's figure has S2 of Large for some tasks."
SCALE_SETS = ("1x", "0.5x+1x+2x", "0.5x+1x+2x+3x")
ROWS: tuple[Label, ...] = (
    *(("Base", times) for times in SCALE_SETS),
    ("Large", "1x"),
    ("XLarge", "1x"),
)
_CONVNEXT = tuple(paper_model("ConvNeXt", size).name for size in ("Base", "Large", "XLarge"))


def _rows(models: tuple[str, ...]) -> dict[Label, str]:
    named = dict(zip(("Base", "Large", "XLarge"), models, strict=True))
    return {(size, times): at(named[size], times) for size, times in ROWS}


_STAND_INS, _PAPERS = _rows((BASE, LARGE, HUGE)), _rows(_CONVNEXT)


TABLE = TableSpec(
    key="figure8",
    title="S2 on a convolutional network",
    question="Does S2 work for convolutional networks, with a scale below native as well?",
    paper="s2",
    reference="Figure 8, appendix C",
    label=("size", "scales"),
    rows=ROWS,
    metrics=(
        Metric(column="top1", name="top-1 (%)"),
        Metric(column="miou", name="mIoU (%)"),
        Metric(column="rmse", name="RMSE (m), lower is better", better="lower", digits=3),
    ),
    setups={
        "bundled": Setup(
            quantities={
                "top1": top1(_STAND_INS, data="textiles"),
                "miou": miou(_STAND_INS, data="scenes"),
                "rmse": rmse(_STAND_INS, data="scenes"),
            },
            deviations=(
                MODELS.replace("Huge and Giant", "XLarge"),
                "The paper prints no figures for this picture, so none stand beside these.",
                TEXTILES,
                scenes_for("ADE20k and NYUv2"),
                *HEADS,
                BASE_ONLY,
                INTERVALS,
            ),
            expected="seconds, once Tables 5 to 7 are extracted",
        ),
        "paper": Setup(
            quantities={
                "top1": top1(_PAPERS, data="imagenet"),
                "miou": upernet(_PAPERS, data="ade20k"),
                "rmse": vpd(_PAPERS, data="nyuv2"),
            },
            deviations=(
                "Sizes: 1x is 224 pixels for all three tasks; the paper does not state its own.",
                CONVERGED,
                UPERNET,
                VPD,
                CROPS,
                BASE_ONLY,
                INTERVALS,
            ),
            expected="alone 10 decoders, 209 GPU hours at 200 (fp32: 20) TFLOP/s; top-1 beside "
            "them as Table 5",
        ),
    },
    figure="convnet",
)
