"""Run a backbone on one or several scales of a batch of images, within bounded memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench.models.backbone import Backbone
from workbench.models.info import Tokens
from workbench.multiscale.arrange import interpolate, merge, pool, split
from workbench.multiscale.planning import Plan, plan
from workbench.multiscale.scale import Scale

_Result = TypeVar("_Result")


class CropLimit:
    """Crops per forward pass; halves itself when the device runs out of memory.

    Keep one for a whole run, so that a limit found once holds for the rest of it.
    """

    def __init__(self, crops: int = 64, *, say: Callable[[str], None] = warnings.warn) -> None:
        if crops < 1:
            raise InputError(f"crops per forward pass: found {crops}, expected at least 1")
        self.crops = crops
        self.images: int | None = None
        """Images scaled and cut into crops at a time; None = as many as are given."""
        self.say = say

    def halve(self, name: str, tried: int) -> None:
        """Go on with half of the crops that did not fit, and say so.

        Raises
        ------
        InputError
            It was one crop already.
        """
        if tried == 1:
            raise InputError(
                f"{name} runs out of memory on a single crop; use a smaller model or scale, a "
                "lower precision, or another device"
            )
        self.crops = tried // 2
        self.say(f"out of memory: {name} goes on with {self.crops} crops per forward pass")

    def halve_images(self, name: str, tried: int) -> None:
        """The same for images whose scaled copies and crops did not fit.

        Raises
        ------
        InputError
            It was one image already.
        """
        if tried == 1:
            raise InputError(
                f"{name} runs out of memory as a single image is scaled and cut into crops; use "
                "smaller scales or another device"
            )
        self.images = tried // 2
        self.say(f"out of memory: {name} goes on with {self.images} images at a time")


def run_crops(backbone: Backbone, crops: torch.Tensor, limit: CropLimit) -> Tokens:
    """Tokens of (crop, 3, height, width), at most ``limit.crops`` at a time."""
    return _joined(
        _in_parts(
            len(crops),
            lambda: limit.crops,
            lambda part: backbone(crops[part]),
            limit.halve,
            backbone,
        )
    )


def _in_parts(
    count: int,
    size: Callable[[], int | None],
    run: Callable[[slice], _Result],
    halve: Callable[[str, int], None],
    backbone: Backbone,
) -> list[_Result]:
    """What `run` makes of `count` crops or images, so many at a time as `size` says (None = all);
    where memory runs out, `halve` is told the model and how many were tried."""
    parts: list[_Result] = []
    done = 0
    while done < count or not parts:
        tried = min(size() or count, count - done)
        try:
            parts.append(run(slice(done, done + tried)))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        else:
            done += tried
            continue
        halve(backbone.info.name, tried)  # not in the handler: its traceback holds tensors alive
        if backbone.device.type == "cuda":
            torch.cuda.empty_cache()
    return parts


def _joined(parts: Sequence[Tokens]) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    return Tokens(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text


def scale_features(
    backbone: Backbone,
    images: torch.Tensor,
    scale: Scale | str,
    *,
    max_crops: int | CropLimit = 64,
) -> Tokens:
    """Features of a batch of images at one scale.

    Parameters
    ----------
    backbone : Backbone
        The frozen model.
    images : torch.Tensor
        (image, 3, height, width) float32, normalised: base images, or, for a ``raw`` scale,
        images already at the scale's size.
    scale : Scale or str
        The scale.
    max_crops : int or CropLimit
        Crops per forward pass; bounds memory, changes results by float rounding only.

    Returns
    -------
    Tokens
        ``prefix`` (image, prefix, channel): mean over the image's crops. ``map`` (image, rows,
        cols, channel): merged, pooled to the base grid unless ``unpooled``. float32.

    Raises
    ------
    InputError
        A scale this model cannot run, or images of another size than the scale needs.
    """
    scale = Scale.parse(scale) if isinstance(scale, str) else scale
    raw = {scale: images} if scale.raw else {}
    return features(backbone, images, [scale], raw=raw, max_crops=max_crops)[scale]


def features(
    backbone: Backbone,
    base: torch.Tensor,
    scales: Sequence[Scale],
    *,
    raw: Mapping[Scale, torch.Tensor] | None = None,
    max_crops: int | CropLimit = 64,
) -> dict[Scale, Tokens]:
    """Features of a batch of images at several scales; equal-sized crops share forward passes.

    Parameters
    ----------
    backbone, base, max_crops
        As in :func:`scale_features`; ``base`` holds the base images.
    scales : sequence of Scale
        The scales, each once.
    raw : mapping of Scale to torch.Tensor, optional
        For each ``raw`` scale, the original images resized to it, normalised.

    Returns
    -------
    dict of Scale to Tokens
        In the order of ``scales``.
    """
    limit = max_crops if isinstance(max_crops, CropLimit) else CropLimit(max_crops)
    plans = [plan(scale, backbone.info) for scale in scales]
    raw = raw or {}

    def run(some: slice) -> dict[Scale, Tokens]:
        images = {scale: pixels[some] for scale, pixels in raw.items()}
        return _at_once(backbone, base[some], plans, images, limit)

    parts = _in_parts(len(base), lambda: limit.images, run, limit.halve_images, backbone)
    return {scale: _joined([part[scale] for part in parts]) for scale in scales}


def _at_once(
    backbone: Backbone,
    base: torch.Tensor,
    plans: Sequence[Plan],
    raw: Mapping[Scale, torch.Tensor],
    limit: CropLimit,
) -> dict[Scale, Tokens]:
    """All scales of some images."""
    cut = [cut_crops(_images_for(how, base, raw), how) for how in plans]
    found: dict[Scale, Tokens] = {}
    for size in dict.fromkeys(how.crop for how in plans):
        same = [i for i, how in enumerate(plans) if how.crop == size]
        crops = cut[same[0]] if len(same) == 1 else torch.cat([cut[i] for i in same])
        tokens = run_crops(backbone, crops, limit)
        counts = [len(cut[i]) for i in same]
        parts = zip(tokens.prefix.split(counts), tokens.map.split(counts), strict=True)
        for i, (prefix, maps) in zip(same, parts, strict=True):
            found[plans[i].scale] = assemble(Tokens(prefix, maps), plans[i])
    return found


def _images_for(how: Plan, base: torch.Tensor, raw: Mapping[Scale, torch.Tensor]) -> torch.Tensor:
    """The images a plan starts from: the base images, or the scale's own if it is raw."""
    scale = how.scale
    images = raw.get(scale) if scale.raw else base
    expected = (scale.height, scale.width) if scale.raw else None
    if images is None or (expected and tuple(images.shape[2:]) != expected):
        found = "none" if images is None else f"{images.shape[2]} x {images.shape[3]}"
        raise InputError(
            f"scale {scale} takes the original images resized to {scale.height} x {scale.width}; "
            f"found {found}"
        )
    height, width = images.shape[2:]
    if height * how.base[1] != width * how.base[0]:
        raise InputError(
            f"scale {scale} has base images of {how.base[0]} x {how.base[1]}; found {height} x "
            f"{width}, another aspect ratio, which would distort them"
        )
    return images


def cut_crops(images: torch.Tensor, how: Plan) -> torch.Tensor:
    """The crops of a batch of images under a plan: (image · crops, 3, height, width)."""
    scale = how.scale
    large = interpolate(images, scale.height, scale.width)
    if how.crops == (1, 1) and not scale.pad:
        return large
    height, width = how.crops[0] * how.crop[0], how.crops[1] * how.crop[1]
    return split(F.pad(large, (0, width - scale.width, 0, height - scale.height)), how.crop[0])


def assemble(tokens: Tokens, how: Plan) -> Tokens:
    """Tokens of all crops, image by image, to tokens of images: merge, pool, mean of prefixes."""
    merged = merge(tokens.map, how.crops)[:, : how.merged[0], : how.merged[1]]
    stored = merged.contiguous() if how.scale.unpooled else pool(merged, how.pooled)
    n, channels = len(stored), tokens.prefix.shape[2]
    prefix = tokens.prefix.reshape(n, how.crops_per_image, tokens.prefix.shape[1], channels)
    return Tokens(prefix.mean(dim=1), stored)
