"""Image and map arithmetic of the multi-scale pass: interpolate, split, merge, pool."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from feature_store.errors import InputError


def interpolate(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resample (image, 3, h, w) to (image, 3, height, width), bicubic in float32.

    Antialiased only if a side shrinks. Returns the image itself if it already has this size.
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
