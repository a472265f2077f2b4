"""Parts shared by the three tables of the VLM encoder paper."""

from __future__ import annotations

from workbench.tables.specs.schema import (
    Comparison,
    Metric,
    Quantity,
    Setup,
    TableSpec,
    labels_of,
)

SIZES = {"86000000": "86M", "304000000": "304M", "632000000": "632M", "1010000000": "1.01B"}
RUN_IT = (
    "To measure these losses again: the language model, 10 million image-text pairs and, per cell, "
    "a projector trained on frozen encoder and language model (8 A100 in the paper). Here a law in "
    "encoder size and pairs is fitted to the published losses."
)


def table(number: int, llm: str, dataset: str) -> TableSpec:
    """Table `number`: 40 losses of one language model on one dataset, beside a fitted law."""
    where = {"llm": llm, "dataset": dataset}
    columns = ("vit_params", "image_text_pairs")
    run = Setup(
        quantities={
            "eval_loss": {
                label: Quantity(
                    analysis="encoder_law",
                    field="fitted",
                    source="/".join(label),
                    options=(("dataset", dataset), ("llm", llm)),
                )
                for label in labels_of("vlm_tables02_04_eval_loss", columns, where)
            }
        },
        comparable=True,
        deviations=(
            RUN_IT,
            "Here: the law of least BIC among E + A f(N) + B D^(-beta), fitted to these 40 losses; "
            "the difference is the law's residual, not a repetition's error.",
            "Intervals: 95 %, bootstrap over amounts of data; of the fitted law, not of a new run.",
        ),
        expected="5 seconds",
    )
    return TableSpec(
        key=f"vlm{number}",
        title=f"Evaluation loss, {llm} on {dataset}",
        question="Does a larger vision encoder lower the loss of a multimodal model?",
        paper="vlm",
        reference=f"Table {number}, section 4",
        published="vlm_tables02_04_eval_loss",
        where=where,
        label=columns,
        metrics=(Metric(column="eval_loss", name="loss", better="lower", digits=3),),
        setups={"bundled": run, "paper": run},
        comparisons=tuple(
            Comparison(
                question=f"encoder of {SIZES[a]} against {SIZES[b]} at 10M pairs",
                metric="eval_loss",
                a=(a, "10000000"),
                b=(b, "10000000"),
            )
            for a, b in zip([*SIZES][1:], [*SIZES][:-1], strict=True)
        ),
        extra_tables=(
            f"encoder gains {llm}/{dataset}",
            f"encoder laws {llm}/{dataset}",
            "encoder sweep",
        ),
    )
