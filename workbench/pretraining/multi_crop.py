"""Large and small crops of an image, as in DINOv2.

Source: facebookresearch/dinov2, ``dinov2/data/augmentations.py``.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from torchvision import transforms

from feature_store.errors import InputError
from workbench.models.info import BackboneInfo
from workbench.multiscale import S2, plan_scale
from workbench.pretraining.backbone import small_crops
from workbench.pretraining.config import Distillation

LARGE, SMALL = (0.32, 1.0), (0.05, 0.32)
"""Ranges of the share of an image that a crop covers."""
BLUR = (9, (0.1, 2.0))
"""Kernel size and range of the Gaussian's width."""
LEAST_PATCHES = 10
"""Patches of an image, at least: the smallest blanked share, a tenth, is then one patch."""


class MultiCrop:
    """Cuts an image into two large and several small crops: uint8 arrays, dims (3, side, side).

    Parameters
    ----------
    large, small : int
        Sides in pixels.
    count : int
        Number of small crops.
    """

    def __init__(self, large: int, small: int, count: int) -> None:
        self.count = count
        self.large = [_crop(large, LARGE, 1.0, 0.0), _crop(large, LARGE, 0.1, 0.2)]
        self.small = _crop(small, SMALL, 0.5, 0.0)

    def __call__(self, image: Image.Image) -> list[np.ndarray]:
        crops = [crop(image) for crop in self.large]
        crops += [self.small(image) for _ in range(self.count)]
        return [np.array(crop, np.uint8).transpose(2, 0, 1) for crop in crops]


def _crop(
    side: int, share: tuple[float, float], blur: float, solarise: float
) -> transforms.Compose:
    """A random crop and flip, then colours, blur and solarisation with these probabilities."""
    colours = transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(
                side, scale=share, interpolation=transforms.InterpolationMode.BICUBIC
            ),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([colours], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([transforms.GaussianBlur(*BLUR)], p=blur),
            transforms.RandomSolarize(threshold=128, p=solarise),
        ]
    )


def small_side(info: BackboneInfo, asked: Distillation) -> int:
    """Side of the small crops in pixels: whole patches."""
    return max(1, round(asked.local_pixels * info.native / info.stride)) * info.stride


def require_crops(s2: S2, asked: Distillation) -> None:
    """Refuse a model, scales or small crops that self-distillation cannot run.

    Raises
    ------
    InputError
        A ``raw`` or ``unpooled`` scale, images of one size only or of too few or no whole patches,
        or small crops whose scales are not whole patches.
    """
    info, name = s2.info, s2.info.name.removeprefix("random:")
    strange = [str(scale) for scale in s2.scales if scale.raw or scale.unpooled]
    if strange:
        raise InputError(
            f"--objective dinov2 cuts all scales from crops of the base image and compares them on "
            f"its grid; found scale {strange[0]}, expected one without .raw and .unpooled"
        )
    if not info.flexible:
        raise InputError(
            f"--objective dinov2 takes crops of two sizes, and {name} runs at its native "
            f"{info.native} pixels only; choose another model, such as timm:vit_small_patch16_224"
        )
    rows, cols = info.grid
    if rows * cols < LEAST_PATCHES or rows * info.stride != info.native:
        raise InputError(
            f"--objective dinov2 blanks patches: {name} has {rows} x {cols} of {info.stride} "
            f"pixels at its native {info.native}, expected at least {LEAST_PATCHES} that fill the "
            f"image; choose another native size, NAME:PIXELS"
        )
    if asked.local_crops:
        _require_small(s2, asked, name)


def _require_small(s2: S2, asked: Distillation, name: str) -> None:
    side = small_side(s2.info, asked)
    small, scales = small_crops(s2, side)
    for scale, own in zip(s2.scales, scales, strict=True):
        try:
            plan_scale(own, small)
        except InputError as error:
            raise InputError(
                f"--local-pixels {asked.local_pixels:.3g} makes small crops of {side} pixels, "
                f"which {name} cannot run at scale {scale} of its native {s2.info.native} "
                f"({error}); choose another --local-pixels or other --scales"
            ) from error
