"""How one scale runs on one model: checked before a pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.errors import InputError
from workbench import models
from workbench.models.info import BackboneInfo
from workbench.models.transform import LARGEST
from workbench.multiscale.scale import Scale, as_scale, base_size, near_sizes


@dataclass(frozen=True, kw_only=True)
class ScalePlan:
    """How one scale runs on one model, checked; sizes are (rows, columns) or (height, width)."""

    scale: Scale
    """The scale."""
    base: tuple[int, int]
    """Pixels of the base image whose grid the map is pooled to."""
    crop: tuple[int, int]
    """Pixels of one crop."""
    crops: tuple[int, int]
    """Crops per column and per row of the image."""
    merged: tuple[int, int]
    """Rows and columns of the merged map."""
    grid: tuple[int, int]
    """Grid the scale is stored at: the base grid, or the merged map's if unpooled."""
    pooled: tuple[int, int]
    """The base grid."""

    @property
    def crops_per_image(self) -> int:
        """Crops that go through the model for one image."""
        return self.crops[0] * self.crops[1]


def plan_scale(scale: Scale | str, info: BackboneInfo) -> ScalePlan:
    """Check one scale against a model and lay out how it runs.

    A scale with a side below native runs in one piece, like ``whole``, unless it is padded.

    Parameters
    ----------
    scale : Scale or str
        The scale; text in pixels or multiples of the native size.

    Raises
    ------
    InputError
        A split scale that is not a multiple of the native size (the nearest valid sizes are named),
        or a size the model cannot run in one piece.
    """
    scale = as_scale(scale, info.native)
    if scale.height * scale.width > LARGEST:
        raise InputError(
            f"scale {scale}: {scale.height} x {scale.width} are more than {LARGEST:,} pixels, the "
            "most that an image is resized to; choose a smaller scale"
        )
    base = base_size(scale, info.native)
    pooled = (base[0] // info.native * info.grid[0], base[1] // info.native * info.grid[1])
    small = scale.height < info.native or scale.width < info.native
    if scale.whole or (small and not scale.pad):
        crop, crops, merged = (scale.height, scale.width), (1, 1), _whole_grid(scale, info)
    else:
        crop, crops, merged = _split_grid(scale, info)
    grid = merged if scale.unpooled else pooled
    return ScalePlan(
        scale=scale, base=base, crop=crop, crops=crops, merged=merged, grid=grid, pooled=pooled
    )


def _split_grid(scale: Scale, info: BackboneInfo) -> tuple[tuple[int, int], ...]:
    """Crop size, crops and merged map of a scale that is cut into native squares."""
    native = info.native
    if (scale.height % native or scale.width % native) and not scale.pad:
        raise InputError(
            f"scale {scale}: {scale.height} x {scale.width} is not a multiple of native {native} "
            f"of {info.name}; nearest valid sizes: {near_sizes(scale, native)}; "
            "or write multiples such as 1x and 2x, or add .whole or .pad"
        )
    crops = (-(-scale.height // native), -(-scale.width // native))
    rows = -(-scale.height * info.grid[0] // native)  # cells that see any of the image itself
    cols = -(-scale.width * info.grid[1] // native)
    return (native, native), crops, (rows, cols)


def _whole_grid(scale: Scale, info: BackboneInfo) -> tuple[int, int]:
    """Map of a scale that runs in one piece."""
    if (scale.height, scale.width) == (info.native, info.native):
        return info.grid
    if not info.flexible:
        raise InputError(
            f"scale {scale}: {info.name} runs at its native {info.native} pixels only; choose "
            f"multiples of {info.native} without .whole"
        )
    if not info.convnet and (scale.height % info.stride or scale.width % info.stride):
        raise InputError(
            f"scale {scale}: {info.name} cuts images into patches of {info.stride} pixels; nearest "
            f"valid sizes: {near_sizes(scale, info.stride)}"
        )
    return models.grid_at(info, scale.height, scale.width)
