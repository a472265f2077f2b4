"""S2 paper, Table 10: robotic manipulation. Published figures, and trials in simulation beside."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

TABLE = TableSpec(
    key="10",
    title="Robotic manipulation: S2 against encoder size",
    question="Does a larger image scale help a manipulation policy more than a larger encoder?",
    paper="s2",
    reference="Table 10, Figure 5, section 3.2, appendix A",
    published="s2_table10_robotics",
    label=("family", "size", "scales"),
    metrics=(Metric(column="success_rate", name="success rate (%)"),),
    missing=(
        "The rates are 7, 10 and 8 successes of 16 (95 % intervals 23 to 67, 39 to 82 and 28 to "
        "72 %): no test tells them apart (Fisher's p 0.48 against Base, 0.72 against Large). A "
        "difference of this size needs 111 and 247 trials of each model for a power of 80 %. To "
        "run the paper's own: its robot arm and 120 demonstrations, which are not published. The "
        "trials below are of a simulated arm; `workbench robot` runs them. Parameters and "
        "multiply-accumulates are counted on MAE's architecture, which is MVP's; MVP's Large is "
        "trained at 256 pixels, and the paper's figure is 224's."
    ),
    extra_tables=("cost 10", "robot audit", "robot runs"),
    figure="robot",
)
