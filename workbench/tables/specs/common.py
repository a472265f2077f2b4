"""Names that several declarations share: stand-ins, the papers' sources, common footnotes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from analyses.published.checkpoints import PAPER_MODELS, paper_model
from feature_store import Source
from workbench.heads.recipes import RECIPES
from workbench.tables.specs.schema import DataNote, Label, each, labels_of

BASE, LARGE, HUGE = (f"bundled:efficientnet_lite{n}" for n in (0, 1, 2))
"""Bundled models that stand in for Base, Large and Huge or Giant."""

MODELS = (
    "Models: EfficientNet-Lite0 stands in for Base, Lite1 for Large, Lite2 for Huge and Giant "
    "(3.4, 4.1 and 4.8 million parameters without classifier, ImageNet weights, tap: last block). "
    "Each runs at the size it was trained at: 224, 240 and 260 pixels."
)
STAND_INS = (
    f"{MODELS} One family is bundled; it stands beside the ViT rows and the other families stay "
    "empty."
)
TEXTILES = DataNote(
    data="textiles",
    text="Data: bundled photographs of woven cloth (nominal, local defect, global defect) in place "
    "of ImageNet-1k.",
    otherwise="Data: {datasets} in place of ImageNet-1k.",
)


def scenes_for(papers: str) -> DataNote:
    """The bundled scenes in place of a dataset of the paper's."""
    return DataNote(
        data="scenes",
        text="Data: bundled rendered scenes (a wall and five shapes with photographic textures) in "
        f"place of {papers}.",
        otherwise=f"Data: {{datasets}} in place of {papers}.",
    )


SCENES_SEGMENTATION = scenes_for("ADE20k")
SCENES_DEPTH = scenes_for("NYUv2")
SCALES = "Scales: multiples of each model's native size in place of the paper's sizes."
LINEAR_SEGMENTATION = (
    "Head: linear on single tokens, trained on at most 131,072 of them, in place of Mask2Former."
)
LINEAR_DEPTH = (
    "Head: ridge regression on single tokens, trained on at most 131,072 of them, in place of the "
    "VPD decoder."
)
MASK2FORMER, UPERNET, VPD = (
    f"{head}: trained and tested as {RECIPES[name].source} states, on a frozen model; deviations: "
    f"{'; '.join(RECIPES[name].deviations)}."
    for head, name in (
        ("Mask2Former", "ade20k-mask2former"), ("UPerNet", "ade20k-upernet"), ("VPD", "nyuv2-vpd")
    )
)  # fmt: skip
VPD += " RMSE: the mean over test images of each image's RMSE, as that file's evaluator takes it."
CROPS = (
    "Images: crops of 512 pixels, resized to every scale of a source, so that all rows see the "
    "same; the paper does not say what models of patch 14 see."
)
CONVERGED = (
    "Head: linear on the mean over tokens, to convergence with a penalty chosen on training "
    "images; the paper trains 30 epochs."
)
UNSAID = (
    "The paper names neither optimiser, schedule, pooling nor augmentation; here Adam at a "
    "constant rate, the mean over tokens, and one centre crop per image."
)
WILSON = "Intervals: 95 %, Wilson, over test images."
BOOTSTRAP = "Intervals: 95 %, bootstrap over test images."

top1 = partial(each, analysis="probe", field="top1")
miou = partial(each, analysis="segmentation", field="miou")
rmse = partial(each, analysis="depth", field="rmse")
"""One quantity per row, of its own source: accuracy, mean IoU, depth error."""
mask2former = partial(
    each, analysis="segmentation_decoder", field="miou", published="ade20k-mask2former"
)
upernet = partial(each, analysis="segmentation_decoder", field="miou", published="ade20k-upernet")
vpd = partial(each, analysis="depth_decoder", field="rmse", published="nyuv2-vpd")
"""The same with the paper's decoders."""

NATIVE = {"ViT": 224, "DINOv2": 518, "OpenCLIP": 224, "ConvNeXt": 224, "MAE": 224}
"""Native size of each family's checkpoints in pixels."""
SIDES = {
    **{model.name: NATIVE[model.family] for model in PAPER_MODELS if model.family in NATIVE},
    BASE: 224,
    LARGE: 240,
    HUGE: 260,
}
"""Native size in pixels of each stand-in and of each of the paper's models."""


def at(model: str, scales: str) -> str:
    """Source of a stand-in or of a paper's model at multiples of its native size, in pixels.

    A model outside :data:`SIDES`, such as ``NAME:224``, runs at 224 pixels.

    >>> at("bundled:efficientnet_lite1", "1x+2x.whole")
    'bundled:efficientnet_lite1@240+480.whole'
    """
    return str(Source(model, None, tuple(scales.split("+"))).at_native(SIDES.get(model, 224)))


def paper_source(label: Label) -> str:
    """Source that a row (family, size, scales) of the S2 paper's tables 5 to 7 and 13 means.

    The first scale is the size of a crop; where it is not the checkpoint's native size, position
    embeddings are resampled (``:PIXELS``).

    Examples
    --------
    >>> paper_source(("ViT", "Base", "256+512+1024"))
    'timm:vit_base_patch16_224.orig_in21k:256@256+512+1024'
    """
    family, size, scales = label
    crop = int(scales.split("+")[0])
    pixels = "" if crop == NATIVE[family] else f":{crop}"
    return f"{paper_model(family, size).name}{pixels}@{scales}"


def paper_sources(published: str, other: Mapping[Label, str] | None = None) -> dict[Label, str]:
    """:func:`paper_source` of each row of a published table; `other` replaces scales of rows."""
    labels = labels_of(published, ("family", "size", "scales"))
    replaced = {label: (*label[:2], scales) for label, scales in (other or {}).items()}
    return {label: paper_source(replaced.get(label, label)) for label in labels}
