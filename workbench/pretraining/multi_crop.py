"""Large and small crops of an image, as in DINOv2.

Source: facebookresearch/dinov2, ``dinov2/data/augmentations.py``.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from torchvision import transforms

LARGE, SMALL = (0.32, 1.0), (0.05, 0.32)
"""Ranges of the share of an image that a crop covers."""
BLUR = (9, (0.1, 2.0))
"""Kernel size and range of the Gaussian's width."""


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
