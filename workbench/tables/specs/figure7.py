"""S2 paper, Figure 7: images that only the larger model gets better."""

from __future__ import annotations

from analyses.published.checkpoints import paper_model
from workbench.tables.specs.common import BASE, CONVERGED, LARGE, MODELS, TEXTILES, at
from workbench.tables.specs.schema import Metric, Quantity, Setup, TableSpec

JUDGED = (
    CONVERGED,
    "S2 is 224 and 448 pixels, and improvement is a drop of the loss on unseen images; the paper "
    "states neither for this figure.",
    "Rare and ambiguous are told apart by distances and second classes; nobody looked at the "
    "images.",
)
COLUMNS = {
    "images": "test images",
    "eligible": "better with Large, not with S2",
    "rare": "rare, of the 20 hardest",
    "ambiguous": "ambiguous, of the 20 hardest",
}


def _quantities(base: str, large: str, data: str) -> dict:
    source = " ".join((at(base, "1x"), at(base, "1x+2x"), at(large, "1x")))
    return {
        column: {("all",): Quantity(analysis="hard", field=column, data=data, source=source)}
        for column in COLUMNS
    }


TABLE = TableSpec(
    key="figure7",
    title="Hard examples",
    question="Which images does a larger model get better and S2 on the smaller one does not?",
    paper="s2",
    reference="Figure 7, section 4.1",
    label=("part",),
    rows=(("all",),),
    metrics=tuple(Metric(column=c, name=n, digits=0) for c, n in COLUMNS.items()),
    setups={
        "bundled": Setup(
            quantities=_quantities(BASE, LARGE, "textiles"),
            deviations=(
                MODELS,
                TEXTILES,
                *JUDGED,
            ),
            expected="seconds, once textiles are extracted",
        ),
        "paper": Setup(
            quantities=_quantities(
                paper_model("ViT", "Base").name, paper_model("ViT", "Large").name, "imagenet"
            ),
            deviations=JUDGED,
            expected="an hour for the three heads on one GPU, once Table 5 is extracted",
        ),
    },
    figure="gallery",
)
