"""S2 paper, Figure 2: S2 against model size on three tasks, drawn from Tables 5 to 7.

Beside them, the smallest model at larger input sizes: the third way to spend more on an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.tables.specs.common import (
    BASE,
    CONVERGED,
    CROPS,
    LINEAR_DEPTH,
    LINEAR_SEGMENTATION,
    MASK2FORMER,
    MODELS,
    TEXTILES,
    UNSAID,
    VPD,
    WILSON,
    mask2former,
    miou,
    paper_source,
    rmse,
    scenes_for,
    top1,
    vpd,
)
from workbench.tables.specs.schema import Label, Metric, Setup, TableSpec

INTERVALS = WILSON + " Segmentation and depth: bootstrap over test images."
TOKENS = (
    "Input size: the whole image at more pixels than in Tables 5 to 7, in one pass, all of its "
    "tokens kept: at twice the size four times as many as S2's, which are pooled to the base grid. "
    "Dense heads gain from a finer grid by itself."
)
CLASSIFIED = dict.fromkeys(("ViT", "DINOv2", "OpenCLIP"), ("448", "672"))
SEGMENTED = {"ViT": ("1024",), "DINOv2": ("1036",), "OpenCLIP": ("1024",)}
DEPTHS = {"ViT": ("1024",), "DINOv2": ("1008",), "OpenCLIP": ("1024",)}
"""Input sizes of each task and family, in pixels."""


def _rows(sizes: Mapping[str, Sequence[str]]) -> dict[Label, str]:
    """The sources of the paper's smallest models at these input sizes."""
    labels = [(family, "Base", pixels) for family, all_of in sizes.items() for pixels in all_of]
    return {label: paper_source(label) for label in labels}


_PAPER = [_rows(sizes) for sizes in (CLASSIFIED, SEGMENTED, DEPTHS)]
_STAND_INS: dict[Label, str] = {
    ("ViT", "Base", pixels): f"{BASE}:{pixels}@{pixels}" for pixels in ("320", "448")
}


TABLE = TableSpec(
    key="figure2",
    title="Scaling curves: S2 against model size and input size",
    question="Which is the best curve against cost: more scales, more parameters or larger inputs?",
    paper="s2",
    reference="Figure 2",
    label=("family", "size", "input size"),
    rows=tuple(dict.fromkeys(label for rows in (_STAND_INS, *_PAPER) for label in rows)),
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
                MODELS,
                "The paper has no curve of input sizes; its points are those of Tables 5 to 7.",
                TOKENS,
                TEXTILES,
                scenes_for("ADE20k and NYUv2"),
                CONVERGED,
                LINEAR_SEGMENTATION,
                LINEAR_DEPTH,
                INTERVALS,
            ),
            expected="about 4 minutes beyond Tables 5 to 7, on two cores (estimated)",
        ),
        "paper": Setup(
            quantities={
                "top1": top1(_PAPER[0], data="imagenet", recipe="paper"),
                "miou": mask2former(_PAPER[1], data="ade20k"),
                "rmse": vpd(_PAPER[2], data="nyuv2"),
            },
            deviations=(
                "The paper has no curve of input sizes; its points are those of Tables 5 to 7.",
                TOKENS,
                "Decoders: twice the size only.",
                UNSAID,
                MASK2FORMER,
                VPD,
                CROPS,
                INTERVALS,
            ),
            expected="6 decoders more than Tables 6 and 7, and top-1 at 4 and 9 times the tokens",
        ),
    },
    uses=("5", "6", "7"),
    figure="scaling",
)
