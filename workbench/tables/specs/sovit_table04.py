"""SoViT, Table 4: zero-shot classification and multitask decoding. Published figures only."""

from __future__ import annotations

from workbench.tables.specs.schema import Metric, TableSpec

_DECODED = {
    "ocrvqa_acc": ("OCR-VQA (%)", "higher"), "ocrvqa_logppl": ("OCR-VQA, log-perplexity", "lower"),
    "gqa_acc": ("GQA (%)", "higher"), "gqa_logppl": ("GQA, log-perplexity", "lower"),
    "vqav2_acc": ("VQAv2 (%)", "higher"), "vqav2_logppl": ("VQAv2, log-perplexity", "lower"),
    "coco_cider": ("COCO, CIDEr", "higher"), "coco_logppl": ("COCO, log-perplexity", "lower"),
}  # fmt: skip

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
    missing=(
        "To run it: the paper's encoders are not public. `workbench probe --zero-shot` measures "
        "the first column for public encoders with a text tower, such as "
        "open_clip:ViT-L-16-SigLIP-256/webli#proj on ImageNet's validation images; bundled models "
        "have none. The other columns need a decoder of two layers that is trained on four tasks "
        "of captions and questions, with COCO, OCR-VQA, GQA and VQAv2."
    ),
)
