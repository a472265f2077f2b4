"""S2: one frozen model at several scales, from a batch of images to their features.

    image (3, s, s) → interpolate → (3, S, S) → split → crops (p·q, 3, n, n)
    → forward → tokens (p·q, r, c, channel) → merge → (p·r, q·c, channel)
    → pool → (r, c, channel) → concat over scales → (r, c, scales · channel)

Prefix tokens are averaged over a scale's crops. **Source:** Shi et al. 2024, section 3.1 and
appendix D. A store keeps every scale by itself and concatenates on reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench.models.backbone import Backbone
from workbench.models.info import Tokens
from workbench.multiscale.arrange import interpolate, merge, pool, split
from workbench.multiscale.memory import CropLimit
from workbench.multiscale.planning import ScalePlan, plan_scale
from workbench.multiscale.scale import Scale, as_scale


def s2_features(backbone: Backbone, images: torch.Tensor, scales: Sequence[Scale | str]) -> Tokens:
    """S2 features of normalised base images (image, 3, s, s), such as at ``["1x", "2x"]``."""
    found = features(backbone, images, scales)
    return Tokens(*(torch.cat(parts, dim=-1) for parts in zip(*found.values(), strict=True)))


def crops_of(images: torch.Tensor, plan: ScalePlan) -> torch.Tensor:
    """Interpolate and split: (image, 3, s, s) → (image · crops, 3, n, n)."""
    scale = plan.scale
    large = interpolate(images, scale.height, scale.width)
    if plan.crops == (1, 1) and not scale.pad:
        return large
    height, width = plan.crops[0] * plan.crop[0], plan.crops[1] * plan.crop[1]
    return split(F.pad(large, (0, width - scale.width, 0, height - scale.height)), plan.crop[0])


def merge_and_pool(crops: Tokens, plan: ScalePlan) -> Tokens:
    """Tokens of all crops, image by image, to tokens of images."""
    merged = merge(crops.map, plan.crops)[:, : plan.merged[0], : plan.merged[1]]
    pooled = merged.contiguous() if plan.scale.unpooled else pool(merged, plan.pooled)
    prefix = crops.prefix.reshape(len(pooled), plan.crops_per_image, *crops.prefix.shape[1:])
    return Tokens(prefix.mean(dim=1), pooled)


def features(
    backbone: Backbone,
    base: torch.Tensor,
    scales: Sequence[Scale | str],
    *,
    raw: Mapping[Scale, torch.Tensor] | Mapping[str, torch.Tensor] | None = None,
    max_crops: int | CropLimit = 64,
) -> dict[Scale, Tokens]:
    """Features of a batch of images at several scales; equal-sized crops share forward passes.

    Parameters
    ----------
    base : torch.Tensor
        (image, 3, height, width) float32, normalised: the base images.
    scales : sequence of Scale or str
        The scales, each once; text in pixels or multiples of the native size.
    raw : mapping of Scale to torch.Tensor, optional
        For each ``raw`` scale, the original images resized to it, normalised.
    max_crops : int or CropLimit
        Crops per forward pass; bounds memory, changes results by float rounding only.

    Returns
    -------
    dict of Scale to Tokens
        In the order of ``scales``, float32. ``prefix`` (image, prefix, channel): mean over the
        image's crops. ``map`` (image, rows, cols, channel): merged, pooled to the base grid unless
        ``unpooled``.

    Raises
    ------
    InputError
        A scale that this model cannot run, or images of another size than the scale needs.
    """
    limit = max_crops if isinstance(max_crops, CropLimit) else CropLimit(max_crops)
    native = backbone.info.native
    plans = [plan_scale(scale, backbone.info) for scale in scales]
    raw = {as_scale(scale, native): pixels for scale, pixels in (raw or {}).items()}

    def run(some: slice) -> dict[Scale, Tokens]:
        resized = {scale: pixels[some] for scale, pixels in raw.items()}
        crops = [crops_of(_images_for(plan, base[some], resized), plan) for plan in plans]
        tokens = _forward(backbone, crops, limit)
        return {p.scale: merge_and_pool(t, p) for p, t in zip(plans, tokens, strict=True)}

    parts = limit.run("images", len(base), run, backbone)
    return {p.scale: _joined([part[p.scale] for part in parts]) for p in plans}


def scale_features(
    backbone: Backbone,
    images: torch.Tensor,
    scale: Scale | str,
    *,
    max_crops: int | CropLimit = 64,
) -> Tokens:
    """Features of a batch of images at one scale; as :func:`features`.

    `images` are base images, or, for a ``raw`` scale, images already at the scale's size.
    """
    scale = as_scale(scale, backbone.info.native)
    raw = {scale: images} if scale.raw else {}
    return features(backbone, images, [scale], raw=raw, max_crops=max_crops)[scale]


def _forward(backbone: Backbone, crops: Sequence[torch.Tensor], limit: CropLimit) -> list[Tokens]:
    """Tokens of the crops of each scale; crops of equal size run together."""
    found: dict[int, Tokens] = {}
    for size in dict.fromkeys(some.shape[2:] for some in crops):
        same = [k for k, some in enumerate(crops) if some.shape[2:] == size]
        together = crops[same[0]] if len(same) == 1 else torch.cat([crops[k] for k in same])
        tokens = run_crops(backbone, together, limit)
        counts = [len(crops[k]) for k in same]
        parts = zip(tokens.prefix.split(counts), tokens.map.split(counts), strict=True)
        found |= {k: Tokens(*part) for k, part in zip(same, parts, strict=True)}
    return [found[k] for k in range(len(crops))]


def run_crops(backbone: Backbone, crops: torch.Tensor, limit: CropLimit) -> Tokens:
    """Tokens of (crop, 3, height, width), as many at a time as the limit allows."""
    return _joined(limit.run("crops", len(crops), lambda some: backbone(crops[some]), backbone))


def _joined(parts: Sequence[Tokens]) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    return Tokens(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _images_for(
    plan: ScalePlan, base: torch.Tensor, raw: Mapping[Scale, torch.Tensor]
) -> torch.Tensor:
    """The images that a scale starts from: the base images, or its own if it is raw."""
    scale = plan.scale
    images = raw.get(scale) if scale.raw else base
    expected = (scale.height, scale.width) if scale.raw else None
    if images is None or (expected and tuple(images.shape[2:]) != expected):
        found = "none" if images is None else f"{images.shape[2]} x {images.shape[3]}"
        raise InputError(
            f"scale {scale} takes the original images resized to {scale.height} x {scale.width}; "
            f"found {found}"
        )
    height, width = images.shape[2:]
    if height * plan.base[1] != width * plan.base[0]:
        raise InputError(
            f"scale {scale} has base images of {plan.base[0]} x {plan.base[1]}; found {height} x "
            f"{width}, another aspect ratio, which would distort them"
        )
    return images
