"""S2 paper, Figure 2: S2 against model size on three tasks, drawn from Tables 5 to 7."""

from __future__ import annotations

from workbench.tables.specs.schema import TableSpec

TABLE = TableSpec(
    key="figure2",
    title="Scaling curves: S2 against model size",
    question="Which is the better curve against cost: more scales or more parameters?",
    paper="s2",
    reference="Figure 2",
    uses=("5", "6", "7"),
    figure="scaling",
)
