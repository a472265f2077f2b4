"""S2 paper, Table 4: pre-training with S2.

Headline: Base-S2 pre-trained with S2 82.4 (ViT) and 80.4 (DINOv2) against Large 81.6 and 81.9. The
bundled profile shows committed runs of ``scripts/experiments/pretraining.py``.
"""

from __future__ import annotations

from dataclasses import replace

from workbench.tables.specs.schema import Comparison, Label, Metric, Quantity, Setup, TableSpec

STAND_INS: dict[Label, str] = {
    ("Base", ""): "Base",
    ("Large", ""): "Large",
    ("Base-S2", "no"): "Base-S2 after training",
    ("Base-S2", "yes"): "Base-S2 in training",
}


def _column(objective: str) -> dict[Label, Quantity]:
    return {
        label: Quantity(
            analysis="pretraining", field="top1", source=row, options=(("objective", objective),)
        )
        for label, row in STAND_INS.items()
    }


_RUN = Setup(
    quantities={"top1_vit": _column("supervised"), "top1_dinov2": _column("dinov2")},
    deviations=(
        "Models: timm's test_vit (width 64, depth 6) stands in for Base, the same with width 96 "
        "and depth 9 for Large, both at 64 pixels; S2 is 1x + 2x.",
        "Data: rendered images with six small shapes over a real photograph "
        "(bundled:specks) in place of ImageNet-21k and ImageNet-1k: pre-training and probe "
        "have the same five classes, and chance is 20 %.",
        "Rows here have seen equally many images; further tables compare equal compute.",
        "Head: linear on the mean token, to convergence, on images of their own.",
        "Intervals: 95 %, over test images and seeds.",
        "A row that does not lie above its floor (pixels, or the backbone at its random "
        "start) stays empty, and its note says so.",
        "With the paper's models: pre-training of ViT and DINOv2 on ImageNet-21k with and without "
        "S2; docs/pretraining.md gives the recipes and what they take. The checkpoints have not "
        "been published.",
    ),
    expected="seconds, from committed metrics",
)

_PAPER = (
    "seconds, from the same committed metrics; 578 to 10,121 GPU hours a row with ViT and 102 to "
    "1,787 with DINOv2 for the paper's models (`workbench pretrain --dry-run`, docs/pretraining.md)"
)

TABLE = TableSpec(
    key="4",
    title="Pre-training with S2",
    question="Does a small model pre-trained at several scales match a larger model?",
    paper="s2",
    reference="Table 4, section 4.3",
    published="s2_table04_pretraining",
    label=("model", "pretrained_with_s2"),
    metrics=(
        Metric(column="top1_vit", name="ViT top-1 (%)"),
        Metric(column="top1_dinov2", name="DINOv2 top-1 (%)"),
    ),
    setups={"bundled": _RUN, "paper": replace(_RUN, expected=_PAPER)},
    comparisons=tuple(
        Comparison(
            question=f"Base-S2 in training against {words} ({name})",
            metric=metric,
            a=("Base-S2", "yes"),
            b=other,
        )
        for metric, name in (("top1_vit", "supervised"), ("top1_dinov2", "DINOv2"))
        for other, words in (
            (("Large", ""), "Large"),
            (("Base-S2", "no"), "Base-S2 after training"),
            (("Base", ""), "Base"),
        )
    ),
    extra_tables=("pretraining supervised", "pretraining dinov2"),
)
