"""SoViT, Table 1: fine-tuning on ImageNet. Published figures only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

TABLE = TableSpec(
    key="sovit1",
    title="Fine-tuning of shape-optimised encoders",
    question="Does a shape-optimised encoder, fine-tuned, equal one of 2.5 times its size?",
    paper="sovit",
    reference="Table 1, section 5.1",
    published="sovit_table01_finetune",
    label=("model", "resolution"),
    metrics=(
        Metric(column="val", name="ImageNet (%)"),
        Metric(column="real", name="ReaL (%)"),
        Metric(column="v2", name="v2 (%)"),
    ),
    missing=(
        "To run it: the paper's encoders, trained on JFT-3B and not public, and fine-tuning of all "
        "their weights at up to 518 pixels; here models stay frozen, and heads are trained. "
        "Table 2 of the paper (sovit2) has frozen encoders."
    ),
)
