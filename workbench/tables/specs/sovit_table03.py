"""SoViT, Table 3: 10-shot accuracy on nine datasets.

Headline: SoViT-400m/14 84.1 on ImageNet against 84.0 of ViT-g/14.
"""

from __future__ import annotations

from workbench.tables.specs.common import TEXTILES
from workbench.tables.specs.schema import Label, Metric, Quantity, Setup, TableSpec, each
from workbench.tables.specs.sovit_table02 import NO_SHAPE, PUBLIC, SIGLIP2, STAND_IN

DATA = {
    "imagenet": "ImageNet", "cifar100": "CIFAR-100", "pets": "Pets", "birds": "Birds",
    "caltech": "Caltech", "cars": "Cars", "colorectal": "Colorectal", "dtd": "DTD",
    "uc_merced": "UC Merced",
}  # fmt: skip
HEAD = (
    "Head: ridge regression on one-hot labels from the mean over tokens, its penalty the best on "
    "training images that were not drawn, the same for all draws. The paper fits linear "
    "regression in closed form and states neither penalty, nor how one is chosen, nor what "
    "represents an image."
)
DRAWS = "Intervals: 95 %, Student, over 20 draws of the ten images per class; same test images."


def _ten_shot(sources: dict[Label, str], data: str) -> dict[Label, Quantity]:
    return each(sources, analysis="few_shot", field="top1", data=data, shots=10)


TABLE = TableSpec(
    key="sovit3",
    title="10-shot accuracy of shape-optimised encoders",
    question="Does a shape-optimised encoder equal one 2.5 times its size from 10 images a class?",
    paper="sovit",
    reference="Table 3, section 5.1",
    published="sovit_table03_fewshot10",
    label=("model",),
    metrics=tuple(Metric(column=column, name=f"{name} (%)") for column, name in DATA.items()),
    setups={
        "bundled": Setup(
            quantities={"imagenet": _ten_shot(STAND_IN, "textiles")},
            deviations=(
                NO_SHAPE,
                TEXTILES,
                "Numbers here stand beside ImageNet's column.",
                HEAD,
                DRAWS,
            ),
            expected="seconds, once textiles are extracted",
        ),
        "paper": Setup(
            quantities={column: _ten_shot(SIGLIP2, column) for column in DATA},
            deviations=(
                PUBLIC,
                "Datasets other than ImageNet are used if the config names them, with its splits; "
                "the paper states none. Columns of the others stay empty.",
                HEAD,
                DRAWS,
            ),
            expected="alone 1.8 GPU hours of forward passes at 200 TFLOP/s, 2.5 TB",
        ),
    },
)
