"""S2 paper, Table 4: pre-training with S2. Published figures only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

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
    missing=(
        "To run it: pre-training of ViT and DINOv2 on ImageNet-21k with and without S2 (six "
        "models; thousands of GPU hours). The checkpoints have not been published; with them, "
        "the rows are `workbench probe` as in Table 5."
    ),
)
