"""S2 paper, Table 13: images per second.

Headline: DINOv2-B with (1x, 2x) 39.5 images/s against 54.5 of DINOv2-L, on a GPU of the authors.
"""

from __future__ import annotations

from workbench.tables.specs.common import paper_sources
from workbench.tables.specs.schema import Comparison, Metric, Setup, TableSpec, each

ALL = paper_sources("s2_table13_throughput")
AT_224 = {label: source for label, source in ALL.items() if label[2].startswith("224")}
DEVICE = (
    "Device: this one; the paper names neither its device, batch nor precision. Only ratios "
    "between rows compare.",
    "Models are the paper's with untrained weights: speed does not depend on values. Forward pass "
    "alone, on pixels in memory.",
    "Intervals: slowest and fastest of the timed passes.",
)


def _quantities(sources: dict, **options) -> dict:
    return {
        "images_per_s": each(
            sources, analysis="throughput", field="images_per_s", data="", **options
        )
    }


TABLE = TableSpec(
    key="13",
    title="Throughput",
    question="How fast is S2 on a small model beside a larger model?",
    paper="s2",
    reference="Table 13, appendix E",
    published="s2_table13_throughput",
    label=("family", "size", "scales"),
    metrics=(Metric(column="images_per_s", name="images/s", digits=2),),
    setups={
        "bundled": Setup(
            quantities=_quantities(AT_224, batch=1, warmup=1, repeats=3),
            deviations=(
                *DEVICE,
                "Rows at 518 pixels take up to half a minute per image on a CPU and are left to "
                "`--profile paper`.",
                "One image per pass, 3 passes after one to warm up.",
            ),
            expected="about 1 minute on two cores, 5 GB of memory",
        ),
        "paper": Setup(
            quantities=_quantities(ALL, batch=8, warmup=2, repeats=7),
            deviations=(*DEVICE, "8 images per pass, 7 passes after two to warm up."),
            expected="about 2 minutes on one GPU",
        ),
    },
    comparisons=tuple(
        Comparison(
            question=f"DINOv2 Base {times} over {larger}",
            metric="images_per_s",
            a=("DINOv2", "Base", scales),
            b=("DINOv2", larger, "224"),
            kind="ratio",
        )
        for scales, times, larger in (
            ("224+448", "(1x, 2x)", "Large"),
            ("224+448+672", "(1x, 2x, 3x)", "Giant"),
        )
    ),
    extra_tables=("cost 13",),
)
