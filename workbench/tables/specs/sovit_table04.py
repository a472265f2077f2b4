"""SoViT, Table 4: zero-shot classification and multitask decoding.

Headline: SoViT-400M 82.2 on ImageNet without training images, against 82.4 of ViT-g/14.
"""

from __future__ import annotations

from workbench.tables.specs.common import WILSON
from workbench.tables.specs.schema import Label, Metric, Setup, TableSpec, each

_DECODED = {
    "ocrvqa_acc": ("OCR-VQA (%)", "higher"), "ocrvqa_logppl": ("OCR-VQA, log-perplexity", "lower"),
    "gqa_acc": ("GQA (%)", "higher"), "gqa_logppl": ("GQA, log-perplexity", "lower"),
    "vqav2_acc": ("VQAv2 (%)", "higher"), "vqav2_logppl": ("VQAv2, log-perplexity", "lower"),
    "coco_cider": ("COCO, CIDEr", "higher"), "coco_logppl": ("COCO, log-perplexity", "lower"),
}  # fmt: skip
SIGLIP2: dict[Label, str] = {
    ("ViT-L/16",): "open_clip:ViT-L-16-SigLIP2-256/webli#proj@256",
    ("SoViT-400M",): "open_clip:ViT-SO400M-14-SigLIP2/webli#proj@224",
    ("ViT-g/14",): "open_clip:ViT-gopt-16-SigLIP2-256/webli#proj@256",
}
"""Public encoders of nearly these shapes with text towers."""

TABLE = TableSpec(
    key="sovit4",
    title="Zero-shot classification and multitask decoding",
    question="Is a shape-optimised encoder as good with texts as one of 2.5 times its size?",
    paper="sovit",
    reference="Table 4, sections 5.2 and 5.3",
    published="sovit_table04_multitask",
    label=("model",),
    metrics=(
        Metric(column="imagenet_zeroshot", name="ImageNet, zero-shot (%)"),
        *(
            Metric(column=column, name=name, better=better)  # type: ignore[arg-type]
            for column, (name, better) in _DECODED.items()
        ),
    ),
    setups={
        "paper": Setup(
            quantities={
                "imagenet_zeroshot": each(
                    SIGLIP2, analysis="zero_shot", field="top1", data="imagenet_val"
                )
            },
            deviations=(
                "Models: SigLIP 2 image and text towers (WebLI) of nearly the same shapes in place "
                "of the paper's, whose JFT-3B weights are not public and whose text towers were "
                "trained beside locked image towers; the largest has patch 16 and its own shape, "
                "not g/14's. The first and the last run at 256 pixels.",
                "Texts: open_clip's names of the classes in OpenAI's 80 prompts, their mean; the "
                "paper does not state its own.",
                WILSON,
            ),
            expected="50,000 images through three encoders: minutes of a GPU beside reading them",
        )
    },
    missing=(
        "To run it: the first column needs encoders with a text tower; bundled models have none, "
        "and the profile paper takes public ones (by itself, `workbench probe --zero-shot`). The "
        "other columns need the paper's encoders, which are not public, and a decoder of two "
        "layers that is trained on four tasks of captions and questions, with COCO, OCR-VQA, GQA "
        "and VQAv2."
    ),
)
