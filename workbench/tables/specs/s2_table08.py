"""S2 paper, Table 8: visual detail and question answering. Cost columns only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

NEEDED = (
    "To run its accuracies: Vicuna-7B with LoRA and a projector trained as LLaVA-1.5 on the frozen "
    "encoder (five trainings, eight 80 GB GPUs for about half a day each), and the benchmarks. "
    "Parameters and multiply-accumulates are counted here."
)
ODDITY = (
    "The third row prints scales up to 672; its multiply-accumulates and the text (section 3.2) "
    "are those of 896, at which docs/vlm.md runs it."
)

TABLE = TableSpec(
    key="8",
    title="Visual detail and VQA: S2 against encoder size",
    question="Does a larger image scale help a multimodal model more than a larger encoder?",
    paper="s2",
    reference="Table 8, section 3.2, appendix A",
    published="s2_table08_vqa",
    label=("family", "size", "scales"),
    metrics=tuple(
        Metric(column=column, name=f"{name} (%)")
        for column, name in (
            ("vstar_att", "V* attribute"),
            ("vstar_spa", "V* spatial"),
            ("vqav2", "VQAv2"),
            ("textvqa", "TextVQA"),
            ("vizwiz", "VizWiz"),
        )
    ),
    missing=f"{NEEDED} {ODDITY}",
    extra_tables=("cost 8", "vstar 8", "experiment tables_1_8_9_multimodal"),
    figure="object sizes",
)
