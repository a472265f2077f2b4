"""S2 paper, Table 9: multimodal benchmarks. Cost columns only."""

from __future__ import annotations

from workbench.tables.specs.s2_table08 import NEEDED, ODDITY, PATCH, SCORING, setups
from workbench.tables.specs.schema import Metric, TableSpec

TABLE = TableSpec(
    key="9",
    title="Multimodal benchmarks: S2 against encoder size",
    question="Does a larger image scale help a multimodal model more than a larger encoder?",
    paper="s2",
    reference="Table 9, section 3.2, appendix A",
    published="s2_table09_mllm",
    label=("family", "size", "scales"),
    metrics=tuple(
        Metric(column=column, name=f"{name} (%)")
        for column, name in (
            ("mmmu", "MMMU"),
            ("mathvista", "MathVista"),
            ("mmbench", "MMBench"),
            ("seed", "SEED"),
            ("mmvet", "MM-Vet"),
        )
    ),
    setups=setups(SCORING, ODDITY, PATCH, recipes="tables8_9_"),
    missing=NEEDED,
    extra_tables=("cost 9", "experiment tables_1_8_9_multimodal"),
    uses=("8",),
    figure="language models",
)
