"""SoViT, section 4: scaling exponents of width, depth and MLP size, and the recipe to 400m.

Headline: exponents 0.22 (width), 0.45 (depth), 0.6 (MLP).
"""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, Quantity, Setup, TableSpec

DIMENSIONS = ("depth", "width", "mlp")

_RUN = Setup(
    quantities={
        "scaling_exponent": {
            ("image classification", dimension): Quantity(
                analysis="shape_law", field="s", source=dimension
            )
            for dimension in DIMENSIONS
        }
    },
    deviations=(
        "Runs: 112 tiny transformers on 8 x 8 digits that come with this package (15 minutes of "
        "one core), metric: held-out cross-entropy; the paper trains on JFT-3B and takes 10-shot "
        "error. The exponents here describe those digits.",
        "An exponent that these runs do not determine is left out; its interval and the reason "
        "are given.",
        "Intervals: 95 %, residual bootstrap.",
        "The recipe and the claims below are arithmetic on the paper's own exponents and shapes, "
        "and can be compared with what it prints.",
    ),
    expected="10 seconds",
)

TABLE = TableSpec(
    key="sovit-shape",
    title="Shape of compute-optimal vision transformers",
    question="How fast should width, depth and MLP size grow with compute?",
    paper="sovit",
    reference="section 4, Figures 3 to 5, appendix B",
    published="sovit_exponents",
    label=("domain", "dimension"),
    metrics=(Metric(column="scaling_exponent", name="exponent s", digits=2),),
    setups={"bundled": _RUN, "paper": _RUN},
    extra_tables=("sovit recipe", "sovit claims"),
)
