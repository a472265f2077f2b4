"""S2 paper, Table 10: robotic manipulation. Cost columns only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

TABLE = TableSpec(
    key="10",
    title="Robotic manipulation: S2 against encoder size",
    question="Does a larger image scale help a manipulation policy more than a larger encoder?",
    paper="s2",
    reference="Table 10, section 3.2, appendix A",
    published="s2_table10_robotics",
    label=("family", "size", "scales"),
    metrics=(Metric(column="success_rate", name="success rate (%)"),),
    missing=(
        "To run its success rates: a robot arm, the paper's 120 demonstrations (not published) and "
        "16 trials per model. One trial is 6.25 points, so the rates are 7, 10 and 8 successes of "
        "16. Parameters and multiply-accumulates are counted here, on MAE's architecture, which is "
        "MVP's."
    ),
    extra_tables=("cost 10",),
)
