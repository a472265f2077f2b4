"""The multi-scale forward pass: interpolate, split into crops, run, merge, pool to the base grid.

    image (3, s, s) → bicubic → (3, S, S) → crops (p·q, 3, n, n) → tokens (p·q, r, c, channel)
                    → merged map (p·r, q·c, channel) → area average → (r, c, channel)

Scales are named by their side in pixels. ``n`` is the model's native side, ``r × c`` its grid
there. **Source:** Shi et al. 2024, section 3.1 and appendix D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench.models.info import Tokens

if TYPE_CHECKING:
    from workbench.models.backbone import Backbone

OPTIONS = ("raw", "whole", "unpooled")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One scale and how it is run; ``str(scale)`` is the inverse of :meth:`parse`.

    Example
    -------
    >>> Scale.parse("448.whole")
    Scale(height=448, width=448, raw=False, whole=True, unpooled=False)
    >>> str(Scale.parse("224x448.unpooled.raw"))
    '224x448.raw.unpooled'
    """

    height: int
    """Height in pixels of the image at this scale."""
    width: int
    """Width in pixels of the image at this scale."""
    raw: bool = False
    """Resize the original image to this scale; default: interpolate the base image."""
    whole: bool = False
    """Run the large image in one piece, position embeddings resampled; default: split."""
    unpooled: bool = False
    """Keep the merged map at its own size; default: pool it to the base grid."""

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read ``SIZE(.OPTION)*``; SIZE is ``448`` (square) or ``HEIGHTxWIDTH``.

        Raises
        ------
        InputError
            Not of that form, a size of zero, or an unknown or repeated option.
        """
        size, *options = text.split(".")
        sides = size.split("x")
        if len(sides) > 2 or not all(s.isascii() and s.isdecimal() and int(s) for s in sides):
            raise InputError(
                f"scale {text!r}: {size!r} is not a size; write pixels such as 448 or 224x448"
            )
        strange = [o for o in options if o not in OPTIONS or options.count(o) > 1]
        if strange:
            raise InputError(
                f"scale {text!r}: option {strange[0]!r} is unknown or repeated; "
                f"options are {', '.join(OPTIONS)}"
            )
        flags = {option: option in options for option in OPTIONS}
        return cls(height=int(sides[0]), width=int(sides[-1]), **flags)

    def __str__(self) -> str:
        size = f"{self.height}" if self.height == self.width else f"{self.height}x{self.width}"
        return ".".join([size, *(option for option in OPTIONS if getattr(self, option))])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one scale runs on one model, checked; sizes are (rows, columns) or (height, width)."""

    scale: Scale
    """The scale."""
    base: tuple[int, int]
    """Pixels of the base image whose grid the map is pooled to."""
    crop: tuple[int, int]
    """Pixels of one crop."""
    crops: tuple[int, int]
    """Crops per column and per row of the image."""
    grid: tuple[int, int]
    """Grid the scale is stored at: the base grid, or the merged map's if unpooled."""
    pooled: tuple[int, int]
    """The base grid."""

    @property
    def crops_per_image(self) -> int:
        """Crops that go through the model for one image."""
        return self.crops[0] * self.crops[1]


def resolve_scales(texts: Sequence[str], native: int) -> list[str]:
    """Scales as given (pixels, or multiples such as ``1x``, ``2x``, ``0.5x``) to canonical text.

    >>> resolve_scales(["1x", "2x.raw", "672"], 224)
    ['224', '448.raw', '672']

    Raises
    ------
    InputError
        A malformed scale, a multiple that gives no whole pixel, or one scale named twice.
    """
    found = []
    for text in texts:
        factor, x, options = text.partition("x")
        if x and (not options or options.startswith(".")) and _is_number(factor):
            pixels = float(factor) * native
            if pixels != int(pixels) or pixels < 1:
                raise InputError(f"scale {text!r}: {factor} x {native} is not a whole pixel size")
            text = f"{int(pixels)}{options}"
        canonical = str(Scale.parse(text))
        if canonical in found:
            raise InputError(f"scale {canonical} is named twice; name each scale once")
        found.append(canonical)
    return found


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal() and text.isascii()


def base_size(scale: Scale, native: int) -> tuple[int, int]:
    """Pixels of the base image: the smallest of the scale's aspect ratio in native squares.

    All scales of one aspect ratio share it, so their pooled maps share a grid.

    >>> base_size(Scale.parse("672"), 224), base_size(Scale.parse("448x896"), 224)
    ((224, 224), (224, 448))

    Raises
    ------
    InputError
        The aspect ratio needs a base image of more than 8 native squares along a side.
    """
    divisor = math.gcd(scale.height, scale.width)
    rows, cols = scale.height // divisor, scale.width // divisor
    if max(rows, cols) > 8:
        near = ", ".join(f"{h}x{w}" for h, w in _near_sizes(scale, native))
        raise InputError(
            f"scale {scale}: {scale.height}:{scale.width} is no simple aspect ratio, so its base "
            f"image would be {rows * native}x{cols * native}; nearest valid sizes: {near}"
        )
    return rows * native, cols * native


def plan(scale: Scale, info) -> Plan:
    """Check one scale against a model and lay out how it runs.

    A square scale smaller than native runs in one piece, like ``whole``.

    Parameters
    ----------
    scale : Scale
        The scale.
    info : BackboneInfo
        The model at its tap.

    Raises
    ------
    InputError
        A split scale that is no multiple of the native size (the nearest valid sizes are named), or
        a size the model cannot run in one piece.
    """
    native = info.native
    base = base_size(scale, native)
    pooled = (base[0] // native * info.grid[0], base[1] // native * info.grid[1])
    below = scale.height < native or scale.width < native
    if scale.whole or below:
        crop, crops, merged = (scale.height, scale.width), (1, 1), _whole_grid(scale, info)
    else:
        if scale.height % native or scale.width % native:
            near = ", ".join(
                f"{h}x{w}" if h != w else f"{h}" for h, w in _near_sizes(scale, native)
            )
            raise InputError(
                f"scale {scale}: {scale.height} x {scale.width} is no multiple of {info.name}'s "
                f"native {native}; nearest valid sizes: {near}; or add .whole"
            )
        crop, crops = (native, native), (scale.height // native, scale.width // native)
        merged = (crops[0] * info.grid[0], crops[1] * info.grid[1])
    grid = merged if scale.unpooled else pooled
    return Plan(scale=scale, base=base, crop=crop, crops=crops, grid=grid, pooled=pooled)


def _near_sizes(scale: Scale, native: int) -> list[tuple[int, int]]:
    down = [max(1, side // native) * native for side in (scale.height, scale.width)]
    up = [max(1, -(-side // native)) * native for side in (scale.height, scale.width)]
    return [(down[0], down[1])] + ([(up[0], up[1])] if up != down else [])


def _whole_grid(scale: Scale, info) -> tuple[int, int]:
    height, width, stride = scale.height, scale.width, info.stride
    if (height, width) == (info.native, info.native):
        return info.grid
    if not info.flexible:
        raise InputError(
            f"scale {scale}: {info.name} runs at its native {info.native} pixels only; choose "
            f"multiples of {info.native} without .whole"
        )
    if not info.convnet and (height % stride or width % stride):
        down = max(1, height // stride) * stride, max(1, width // stride) * stride
        up = -(-height // stride) * stride, -(-width // stride) * stride
        raise InputError(
            f"scale {scale}: {info.name} cuts images into patches of {stride} pixels; nearest valid "
            f"sizes: {down[0]}x{down[1]}, {up[0]}x{up[1]}"
        )
    return info.grid_at(height, width)


def interpolate(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resample (image, 3, h, w) to (image, 3, height, width), bicubic in float32.

    Antialiased only where a side shrinks. The image itself where the size is the same already.
    """
    size = (height, width)
    if tuple(images.shape[2:]) == size:
        return images
    shrinks = height < images.shape[2] or width < images.shape[3]
    return F.interpolate(
        images.float(), size=size, mode="bicubic", align_corners=False, antialias=shrinks
    )


def split(images: torch.Tensor, crop: int) -> torch.Tensor:
    """Cut images into non-overlapping square crops; :func:`merge` is the inverse.

    (image, channel, p·crop, q·crop) → (image·p·q, channel, crop, crop): all crops of one image
    follow each other, row by row.
    """
    n, channels, height, width = images.shape
    p, q = height // crop, width // crop
    if (p * crop, q * crop) != (height, width):
        raise InputError(f"images of {height} x {width} do not split into crops of {crop}")
    blocks = images.reshape(n, channels, p, crop, q, crop)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(n * p * q, channels, crop, crop)


def merge(maps: torch.Tensor, crops: tuple[int, int]) -> torch.Tensor:
    """Lay the maps of crops out as the map of the whole image; inverse of :func:`split`.

    (image·p·q, r, c, channel), crops = (p, q) → (image, p·r, q·c, channel).

    >>> x = torch.rand(2, 3, 8, 12)
    >>> torch.equal(merge(split(x, 4).movedim(1, -1), (2, 3)), x.movedim(1, -1))
    True
    """
    p, q = crops
    total, rows, cols, channels = maps.shape
    if total % (p * q):
        raise InputError(f"{total} crops are not a whole number of images of {p} x {q} crops")
    grid = maps.reshape(total // (p * q), p, q, rows, cols, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, p * rows, q * cols, channels)


def pool(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Area average of (image, rows, cols, channel) to ``grid``, in float32.

    Each output cell is the mean of the input cells it overlaps; where the input is coarser than
    ``grid``, cells are therefore repeated.
    """
    if tuple(maps.shape[1:3]) == tuple(grid):
        return maps.float()
    channels_first = maps.float().permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(channels_first, grid).permute(0, 2, 3, 1).contiguous()


def scale_features(
    backbone: Backbone, images: torch.Tensor, scale: Scale | str, *, max_crops: int = 64
) -> Tokens:
    """Features of a batch of images at one scale.

    Parameters
    ----------
    backbone : Backbone
        The frozen model.
    images : torch.Tensor
        (image, 3, height, width) float32, normalised: base images of any size, or, for a ``raw``
        scale, images already at the scale's size.
    scale : Scale or str
        The scale.
    max_crops : int
        Crops per forward pass; bounds memory, changes results by float rounding only.

    Returns
    -------
    Tokens
        ``prefix`` (image, prefix, channel): mean over the image's crops. ``map`` (image, rows,
        cols, channel): merged, pooled to the base grid unless ``unpooled``. float32.
    """
    scale = Scale.parse(scale) if isinstance(scale, str) else scale
    return _assemble(backbone, images, plan(scale, backbone.info), max_crops)


def crops_of(images: torch.Tensor, how: Plan) -> torch.Tensor:
    """The crops of a batch of images under a plan: (image · crops, 3, height, width)."""
    scale = how.scale
    if scale.raw and tuple(images.shape[2:]) != (scale.height, scale.width):
        raise InputError(
            f"scale {scale} takes original images resized to {scale.height} x {scale.width}; found "
            f"{images.shape[2]} x {images.shape[3]}"
        )
    large = interpolate(images, scale.height, scale.width)
    return large if how.crops == (1, 1) else split(large, how.crop[0])


def _assemble(backbone: Backbone, images: torch.Tensor, how: Plan, max_crops: int) -> Tokens:
    parts = [backbone(part) for part in crops_of(images, how).split(max_crops)]
    return reassemble(Tokens(*(torch.cat(part) for part in zip(*parts, strict=True))), how)


def reassemble(tokens: Tokens, how: Plan) -> Tokens:
    """Tokens of all crops, image by image, to tokens of images: merge, pool, mean of prefixes."""
    merged = merge(tokens.map, how.crops)
    stored = merged if how.scale.unpooled else pool(merged, how.pooled)
    n, channels = stored.shape[0], tokens.prefix.shape[2]
    prefix = tokens.prefix.reshape(n, how.crops_per_image, -1, channels).mean(dim=1)
    return Tokens(prefix, stored)


def base_scale(scale: Scale, native: int) -> Scale:
    """The 1x scale that belongs to a scale: its base image, with no options."""
    height, width = base_size(scale, native)
    return replace(scale, height=height, width=width, raw=False, whole=False, unpooled=False)
