"""Augmented images of pre-training, which do not depend on the number of processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from feature_store.errors import InputError
from workbench.datasets import Dataset
from workbench.datasets.decode import DecodeError
from workbench.training.batches import Key
from workbench.training.randomness import seed_image

Views = Callable[[Image.Image], Any]
"""From an image to uint8 arrays, dims (3, row, col), possibly nested in lists."""
KEEPS_A_BIT = 3
"""Magnitude from which Posterize keeps at least one of 8 bits (4 of them at magnitude 10)."""


class Augmented(TorchDataset):
    """Reads an image and returns its views and label; runs in worker processes."""

    def __init__(self, dataset: Dataset, views: Views, seed: int) -> None:
        self.dataset, self.views, self.seed = dataset, views, seed

    def __getitem__(self, key: Key) -> tuple[Any, int] | str:
        step, place, row = key
        try:
            image = Image.fromarray(self.dataset.image(row))
        except DecodeError as error:
            return f"image {self.dataset.image_ids[row]} cannot be read: {error.reason}"
        seed_image(step, self.seed, place + 1)
        return self.views(image), int(self.dataset.labels[row])


def supervised_views(side: int, min_crop: float, magnitude: int | None) -> Views:
    """Random crop, flip and, unless `magnitude` is None, two operations of RandAugment, by timm.

    The result is a uint8 array, dims (3, side, side). Magnitudes are those of big_vision, whose
    scale ends at 10 but is not cut there; timm cuts at 10 unless told otherwise. At small ones
    Posterize would keep no bit of the image, which Pillow refuses, and is left out.
    """
    from timm.data import create_transform
    from timm.data.auto_augment import RandAugment

    policy = None if magnitude is None else f"rand-m{magnitude}-mmax{max(magnitude, 10)}-n2"
    transform = create_transform(
        side, is_training=True, scale=(min_crop, 1.0), interpolation="bicubic",
        color_jitter=0.0, auto_augment=policy, use_prefetcher=True,
    )  # fmt: skip
    if magnitude is not None and magnitude < KEEPS_A_BIT:
        for step in transform.transforms:
            if isinstance(step, RandAugment):
                step.ops = [op for op in step.ops if op.name != "Posterize"]
    return Plain(transform)


class Plain:
    """Applies a transform and returns an array; a class because it must be picklable."""

    def __init__(self, transform: Callable[[Image.Image], Any]) -> None:
        self.transform = transform

    def __call__(self, image: Image.Image) -> np.ndarray:
        return np.ascontiguousarray(self.transform(image))


def decoded(dataset: Dataset, transform: Callable[[Image.Image], np.ndarray]) -> torch.Tensor:
    """Images of a small dataset under a model's transform: uint8, dims (image, row, col, 3).

    Raises
    ------
    InputError
        An image that cannot be read.
    """
    found = []
    for row in range(len(dataset)):
        try:
            found.append(transform(Image.fromarray(dataset.image(row))))
        except DecodeError as error:
            raise InputError(
                f"image {dataset.image_ids[row]} cannot be read: {error.reason}; repair it or take "
                f"it out of the dataset"
            ) from error
    return torch.from_numpy(np.stack(found))
