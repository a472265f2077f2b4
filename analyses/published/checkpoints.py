"""The papers' checkpoints by name, each with its source.

Source: Shi et al. 2024 (arXiv 2403.13043), sections 3.2 to 4.3 and the footnotes of appendix A;
Alabdulmohsin et al. 2023 (arXiv 2305.13035) for SoViT.
"""

from __future__ import annotations

from dataclasses import dataclass

_GOOGLE = "https://huggingface.co/google/"
_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/"
_LAION = "https://huggingface.co/laion/"
_MAE = "https://github.com/facebookresearch/mae"
_CONVNEXT = "https://github.com/facebookresearch/ConvNeXt"
_SIGLIP = "https://huggingface.co/timm/vit_so400m_patch14_siglip_224.webli"


@dataclass(frozen=True)
class PaperModel:
    """One checkpoint of the papers."""

    family: str
    """Family as the tables print it."""
    size: str
    """Size as the tables print it."""
    name: str
    """Model name here."""
    source: str
    """The checkpoint that the paper names, or the release it belongs to."""


PAPER_MODELS = tuple(PaperModel(*row) for row in (
    ("ViT", "Base", "timm:vit_base_patch16_224.orig_in21k",
     _GOOGLE + "vit-base-patch16-224-in21k"),
    ("ViT", "Large", "timm:vit_large_patch16_224.orig_in21k",
     _GOOGLE + "vit-large-patch16-224-in21k"),
    ("ViT", "Huge", "timm:vit_huge_patch14_224.orig_in21k",
     _GOOGLE + "vit-huge-patch14-224-in21k"),
    ("DINOv2", "Base", "timm:vit_base_patch14_dinov2.lvd142m",
     _DINOV2 + "dinov2_vitb14/dinov2_vitb14_pretrain.pth"),
    ("DINOv2", "Large", "timm:vit_large_patch14_dinov2.lvd142m",
     _DINOV2 + "dinov2_vitl14/dinov2_vitl14_pretrain.pth"),
    ("DINOv2", "Giant", "timm:vit_giant_patch14_dinov2.lvd142m",
     _DINOV2 + "dinov2_vitg14/dinov2_vitg14_pretrain.pth"),
    ("MAE", "Base", "timm:vit_base_patch16_224.mae", _MAE),
    ("MAE", "Large", "timm:vit_large_patch16_224.mae", _MAE),
    ("MAE", "Huge", "timm:vit_huge_patch14_224.mae", _MAE),
    ("OpenCLIP", "Base", "open_clip:ViT-B-16/laion2b_s34b_b88k",
     _LAION + "CLIP-ViT-B-16-laion2B-s34B-b88K"),
    ("OpenCLIP", "Large", "open_clip:ViT-L-14/laion2b_s32b_b82k",
     _LAION + "CLIP-ViT-L-14-laion2B-s32B-b82K"),
    ("OpenCLIP", "Huge", "open_clip:ViT-H-14/laion2b_s32b_b79k",
     _LAION + "CLIP-ViT-H-14-laion2B-s32B-b79K"),
    ("OpenCLIP", "Giant", "open_clip:ViT-g-14/laion2b_s34b_b88k",
     _LAION + "CLIP-ViT-g-14-laion2B-s34B-b88K"),
    ("OpenCLIP", "big-G", "open_clip:ViT-bigG-14/laion2b_s39b_b160k",
     _LAION + "CLIP-ViT-bigG-14-laion2B-39B-b160k"),
    ("ConvNeXt", "Base", "timm:convnext_base.fb_in22k", _CONVNEXT),
    ("ConvNeXt", "Large", "timm:convnext_large.fb_in22k", _CONVNEXT),
    ("ConvNeXt", "XLarge", "timm:convnext_xlarge.fb_in22k", _CONVNEXT),
    ("SoViT", "400M", "timm:vit_so400m_patch14_siglip_224.webli", _SIGLIP),
))  # fmt: skip
"""Every checkpoint, in the order the papers introduce them."""


def paper_model(family: str, size: str) -> PaperModel:
    """The checkpoint to which a table refers by family and size.

    MVP, the encoder of the manipulation study (table 10), publishes its own weights of MAE's
    architecture; its rows resolve to the MAE checkpoint of the same shape.
    """
    models = {(model.family, model.size): model for model in PAPER_MODELS}
    return models[("MAE" if family == "MVP" else family, size)]
