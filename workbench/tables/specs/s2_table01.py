"""S2 paper, Table 1: LLaVA-1.5 with S2 beside other multimodal models. Published figures only."""

from __future__ import annotations

from workbench.tables.specs.s2_table08 import PATCH, SCORING, setups
from workbench.tables.specs.schema import Metric, TableSpec

_BENCHMARKS = {
    "vstar_att": "V* attribute", "vstar_spa": "V* spatial", "vqav2": "VQAv2",
    "textvqa": "TextVQA", "vizwiz": "VizWiz", "mmmu": "MMMU", "mathvista": "MathVista",
    "mmbench": "MMBench", "seed": "SEED", "mmvet": "MM-Vet",
}  # fmt: skip

STAGES = (
    "Rows with S2 are trained with LoRA; those without are LLaVA-1.5's own, whose language model "
    "is trained whole, so that they differ in more than scales."
)
OTHER_SCALES = (
    "This table's scales are 336, 672 and 1008. Of Tables 8 and 9 the text (section 3.2) says 896 "
    "where the tables and appendix A print 672."
)

TABLE = TableSpec(
    key="1",
    title="Vision-language models with S2",
    question="What does S2 add to LLaVA-1.5 on ten benchmarks?",
    paper="s2",
    reference="Table 1",
    published="s2_table01_mllm_sota",
    label=("model", "resolution"),
    metrics=tuple(Metric(column=c, name=f"{n} (%)") for c, n in _BENCHMARKS.items()),
    setups=setups(SCORING, STAGES, OTHER_SCALES, PATCH, recipes="table1_"),
    missing=(
        "To run its four rows of LLaVA-1.5: Vicuna-7B and 13B with both training stages, which "
        "take LLaVA-1.5 13.5 and 25.5 hours on eight A100s, and the ten benchmarks. The features "
        "of the vision "
        "encoder at 336, 672 and 1008 pixels can be extracted with this package, and `workbench "
        "vlm` trains both stages on them (docs/multimodal_paper.md)."
    ),
    extra_tables=(
        "vstar counts 1",
        "vstar chance 1",
        "experiment tables_1_8_9_multimodal",
    ),
)
