"""S2 paper, Table 1: LLaVA-1.5 with S2 beside other multimodal models. Published figures only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

_BENCHMARKS = {
    "vstar_att": "V* attribute", "vstar_spa": "V* spatial", "vqav2": "VQAv2",
    "textvqa": "TextVQA", "vizwiz": "VizWiz", "mmmu": "MMMU", "mathvista": "MathVista",
    "mmbench": "MMBench", "seed": "SEED", "mmvet": "MM-Vet",
}  # fmt: skip

TABLE = TableSpec(
    key="1",
    title="Multimodal language models with S2",
    question="What does S2 add to LLaVA-1.5 on ten benchmarks?",
    paper="s2",
    reference="Table 1",
    published="s2_table01_mllm_sota",
    label=("model", "resolution"),
    metrics=tuple(Metric(column=c, name=f"{n} (%)") for c, n in _BENCHMARKS.items()),
    missing=(
        "To run it: a language model (Vicuna-7B and 13B) with LLaVA-1.5's two training stages, the "
        "ten benchmarks, and eight 80 GB GPUs for about a day per model. The features of the "
        "vision encoder at 336 and 1008 pixels can be extracted with this package, and `workbench "
        "vlm` trains both stages on them (docs/vlm.md)."
    ),
    extra_tables=("vstar 1", "experiment tables_1_8_9_multimodal"),
)
