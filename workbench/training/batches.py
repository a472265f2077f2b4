"""Batches of augmented images, which do not depend on the number of processes.

The random state of every image is a function of the seed, the step and the image's place in the
batch.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, default_collate

from feature_store.errors import InputError
from workbench.datasets import Dataset
from workbench.interrupts import ignore_interrupts
from workbench.training import ranks
from workbench.training.loop import KILLED
from workbench.training.randomness import rows_of_step, seed_step

Key = tuple[int, int, int]
"""Step, place in the batch, row of the dataset."""


class Augmenting(Protocol):
    """Reads and augments images; runs in worker processes."""

    dataset: Dataset
    seed: int

    def __getitem__(self, key: Key, /) -> Any:
        """An augmented image and what belongs to it, or the reason why it cannot be read."""


class Batches:
    """The batches of a run, in step order.

    Parameters
    ----------
    batch : int
        Images per step, over all processes that train together.
    workers : int
        Processes that decode ahead; with 0, :meth:`ready` decodes.
    """

    def __init__(self, augmented: Augmenting, *, batch: int, workers: int) -> None:
        self.augmented, self.batch, self.workers = augmented, batch, workers
        self._coming: Iterator[Any] | None = None

    def read(self, step: int) -> Any:
        """Begin to read the batch of a step, for :meth:`ready`; called in the order of steps."""
        if self.workers == 0:
            return partial(self._now, step)
        if self._coming is None:
            self._coming = iter(self._loader(step))
        try:
            return next(self._coming)
        except (EOFError, ConnectionError) as error:  # killed before it handed its batch over
            raise InputError(KILLED) from error

    def ready(self, batch: Any) -> tuple[Any, Any]:
        """The batch of a step, each part stacked along the image axis.

        Raises
        ------
        InputError
            An image that cannot be read.
        """
        batch = batch() if callable(batch) else batch
        if isinstance(batch, str):
            raise InputError(f"{batch}; repair it or take it out of the dataset")
        return batch

    def _now(self, step: int) -> Any:
        found = collate([self.augmented[key] for key in self._keys(step)])
        seed_step(step, self.augmented.seed, ranks.rank())  # as the loop had set it
        return found

    def _keys(self, step: int) -> list[Key]:
        """Keys of the images that this process reads in a step: every n-th of n processes."""
        count, seed = len(self.augmented.dataset), self.augmented.seed
        rows = rows_of_step(step, count=count, batch=self.batch, seed=seed)
        places = range(ranks.rank(), self.batch, ranks.count())
        return [(step, place, int(rows[place])) for place in places]

    def _loader(self, first: int) -> DataLoader:
        loader: Any = DataLoader(
            self.augmented,  # type: ignore[arg-type]
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
    """Stack items to a batch; if any could not be read, return the first reason."""
    failed = next((item for item in items if isinstance(item, str)), None)
    return failed if failed is not None else tuple(default_collate(items))


def _begin(worker: int) -> None:
    ignore_interrupts()
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End at a SIGTERM of the main process alone; one to the whole group (``timeout``, Slurm) lets
    the main process finish its step, which needs the batch."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
