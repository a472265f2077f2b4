"""Augmented images of pre-training, the same whatever process makes them."""

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
from workbench.training.randomness import seed_step

Views = Callable[[Image.Image], Any]
"""An image to uint8 arrays, dims (3, row, col), or a nest of them."""


class Augmented(TorchDataset):
    """What a worker process runs: an image, its views and its label."""

    def __init__(self, dataset: Dataset, views: Views, seed: int) -> None:
        self.dataset, self.views, self.seed = dataset, views, seed

    def __getitem__(self, key: Key) -> tuple[Any, int] | str:
        step, place, row = key
        try:
            image = Image.fromarray(self.dataset.image(row))
        except DecodeError as error:
            return f"image {self.dataset.image_ids[row]} cannot be read: {error.reason}"
        seed_step(step, self.seed, place + 1)
        return self.views(image), int(self.dataset.labels[row])


def supervised_views(side: int, min_crop: float, magnitude: int | None) -> Views:
    """A random crop and flip at a size, with two operations of RandAugment unless it is None.

    ``timm`` augments; the result is a uint8 array, dims (3, side, side).
    """
    from timm.data import create_transform

    transform = create_transform(
        side, is_training=True, scale=(min_crop, 1.0), interpolation="bicubic",
        color_jitter=0.0, auto_augment=None if magnitude is None else f"rand-m{magnitude}-n2",
        use_prefetcher=True,
    )  # fmt: skip
    return Plain(transform)


class Plain:
    """The array that a transform gives; a class so that processes can be handed it."""

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
                f"it out of the data set"
            ) from error
    return torch.from_numpy(np.stack(found))
