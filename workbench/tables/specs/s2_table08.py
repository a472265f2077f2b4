"""S2 paper, Table 8: visual detail and question answering. Cost columns only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, Setup, TableSpec

NEEDED = (
    "To run its accuracies: Vicuna-7B with LoRA and a projector trained as LLaVA-1.5 on the frozen "
    "encoder (five trainings; LLaVA-1.5's own takes 13.5 hours on eight A100s), and the "
    "benchmarks. Parameters and multiply-accumulates are counted here."
)
SCORING = (
    "Scores of a run here: lmms-eval in place of LLaVA's scripts and of VLMEvalKit, with which the "
    "paper scored; V* by this package, with its official score. Prompts and the reading of answers "
    "differ between engines, and scores with them."
)
ODDITY = (
    "Tables 8 and 9 and appendix A print 224, 448 and 672 for the third row, the text (section "
    "3.2) 224, 448 and 896; its multiply-accumulates are those of 896, at which the recipe here "
    "runs it."
)
PATCH = (
    "The paper's models were trained with a patch of LLaVA; a later revision of it changes the "
    "aspect-ratio option. docs/multimodal_paper.md lists what else a reproducer must know."
)
_BUNDLED = "seconds, from published figures and committed runs"
_PAPER = (
    f"{_BUNDLED}; scripts/slurm/multimodal.sbatch trains the paper's rows; in a checkout a dry run "
    "and `python scripts/experiments/multimodal_paper.py` print what that takes "
    "(docs/multimodal_paper.md)"
)


def setups(*deviations: str, recipes: str) -> dict[str, Setup]:
    """Profiles of a table whose accuracies are not measured here: its footnotes and trainings."""
    return {
        "bundled": Setup(deviations=deviations, expected=_BUNDLED),
        "paper": Setup(deviations=deviations, expected=_PAPER, recipes=recipes),
    }


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
    setups=setups(SCORING, ODDITY, PATCH, recipes="tables8_9_"),
    missing=NEEDED,
    extra_tables=(
        "cost 8",
        "vstar counts 8",
        "vstar chance 8",
        "experiment tables_1_8_9_multimodal",
    ),
    figure="object sizes",
)
