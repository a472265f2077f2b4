"""S2 paper, Table 5 (Figure 2 a to c): linear probes on ImageNet-1k.

Headline: ViT-B with (1x, 2x, 3x) 81.4 against ViT-L 81.6; DINOv2 and OpenCLIP gain less.
"""

from __future__ import annotations

from workbench.tables.specs.common import (
    BASE,
    CONVERGED,
    HUGE,
    LARGE,
    STAND_INS,
    TEXTILES,
    UNSAID,
    WILSON,
    at,
    paper_sources,
    top1,
)
from workbench.tables.specs.schema import Comparison, Label, Metric, Setup, TableSpec

STAND_IN: dict[Label, str] = {
    ("ViT", "Base", "224"): at(BASE, "1x"),
    ("ViT", "Base", "224+448"): at(BASE, "1x+2x"),
    ("ViT", "Base", "224+448+672"): at(BASE, "1x+2x+3x"),
    ("ViT", "Large", "224"): at(LARGE, "1x"),
    ("ViT", "Huge", "224"): at(HUGE, "1x"),
}
TABLE = TableSpec(
    key="5",
    title="ImageNet classification: S2 against model size",
    question="Does a small model at several scales classify as well as a larger model?",
    paper="s2",
    reference="Table 5, Figure 2 (a) to (c), appendix A",
    published="s2_table05_imagenet",
    label=("family", "size", "scales"),
    metrics=(Metric(column="top1", name="top-1 (%)"),),
    setups={
        "bundled": Setup(
            quantities={"top1": top1(STAND_IN, data="textiles")},
            deviations=(
                STAND_INS,
                TEXTILES.plus("Three classes: chance is 50 % (the most frequent class)."),
                CONVERGED,
                WILSON,
            ),
            expected="about 3 minutes with extraction, on two cores",
        ),
        "paper": Setup(
            quantities={
                "top1": top1(paper_sources("s2_table05_imagenet"), data="imagenet", recipe="paper")
            },
            comparable=True,
            deviations=(
                UNSAID,
                WILSON,
            ),
            expected="alone 9.0 GPU hours of forward passes at 200 TFLOP/s, 10.2 TB",
        ),
    },
    comparisons=tuple(
        Comparison(
            question=f"{family} Base {times} against {other}",
            metric="top1",
            a=(family, "Base", scales),
            b=(family, other, "224"),
        )
        for family, largest in (("ViT", "Huge"), ("DINOv2", "Giant"), ("OpenCLIP", "Giant"))
        for scales, times, other in (
            ("224+448", "(1x, 2x)", "Base"),
            ("224+448", "(1x, 2x)", "Large"),
            ("224+448+672", "(1x, 2x, 3x)", largest),
        )
    ),
    extra_tables=("cost 5",),
)
