"""Batches of augmented images, the same whatever process makes them.

Every image of a step has a random state of its own, a function of the seed, the step and the
image's place in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from feature_store.errors import InputError
from workbench.datasets import Dataset
from workbench.datasets.decode import DecodeError
from workbench.interrupts import ignore_interrupts
from workbench.training import ranks
from workbench.training.randomness import rows_of_step, seed_step

Views = Callable[[Image.Image], Any]
"""An image to uint8 arrays, dims (3, row, col), or a nest of them."""
Key = tuple[int, int, int]
"""Step, place in the batch, row of the dataset."""


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


class Batches:
    """The batches of a run, in step order.

    Parameters
    ----------
    augmented : Augmented
    batch : int
        Images of a step, over all processes that train together.
    workers : int
        Processes that decode ahead; 0 decodes when :meth:`ready` is called.
    """

    def __init__(self, augmented: Augmented, *, batch: int, workers: int) -> None:
        self.augmented, self.batch, self.workers = augmented, batch, workers
        self._coming: Iterator[Any] | None = None

    def read(self, step: int) -> Any:
        """What :meth:`ready` turns into a step's batch; steps are asked for in order."""
        if self.workers == 0:
            return partial(self._now, step)
        if self._coming is None:
            self._coming = iter(self._loader(step))
        return next(self._coming)

    def ready(self, batch: Any) -> tuple[Any, torch.Tensor]:
        """Views, dims (image, 3, row, col) uint8 each, and labels, int64 dims (image,).

        Raises
        ------
        InputError
            An image that cannot be read.
        """
        batch = batch() if callable(batch) else batch
        if isinstance(batch, str):
            raise InputError(f"{batch}; repair it or take it out of the data set")
        return batch

    def _now(self, step: int) -> Any:
        found = collate([self.augmented[key] for key in self._keys(step)])
        seed_step(step, self.augmented.seed, ranks.rank())  # as the loop had set it
        return found

    def _keys(self, step: int) -> list[Key]:
        """What this process reads for a step: every n-th image, of n processes."""
        count, seed = len(self.augmented.dataset), self.augmented.seed
        rows = rows_of_step(step, count=count, batch=self.batch, seed=seed)
        places = range(ranks.rank(), self.batch, ranks.count())
        return [(step, place, int(rows[place])) for place in places]

    def _loader(self, first: int) -> DataLoader:
        loader: Any = DataLoader(
            self.augmented,
            batch_sampler=_Keys(self._keys, first),
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_begin,
            generator=torch.Generator(),  # without it the caller's random numbers change
        )
        return loader


class _Keys:
    """Keys of each batch from a step on, without end."""

    def __init__(self, keys: Callable[[int], list[Key]], first: int) -> None:
        self.keys, self.first = keys, first

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first
        while True:
            yield self.keys(step)
            step += 1


def collate(items: list[Any]) -> Any:
    """Items to a batch; the first reason why one could not be read, if any."""
    failed = next((item for item in items if isinstance(item, str)), None)
    return failed if failed is not None else tuple(default_collate(items))


def _begin(worker: int) -> None:
    ignore_interrupts()


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
