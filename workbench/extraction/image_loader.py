"""Decode and transform images: ahead of a GPU, or in turn with the forward pass of a CPU."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from feature_store import protocol
from feature_store.errors import InputError
from workbench.datasets import Dataset
from workbench.datasets.decode import DecodeError
from workbench.interrupts import ignore_interrupts
from workbench.models import Transform

DECODED_TOGETHER = 32
"""Images that a CPU decodes before it computes on them: torch's threads spin for some milliseconds
after a forward pass, in which a few images would be decoded already."""


class Seen(NamedTuple):
    """Record of an image that was read."""

    fingerprint: str
    """Fingerprint of its decoded pixels; empty if they could not be read."""
    file: list[int] | None
    """[bytes, modification time in ns] of its file before it was read; None without a file."""


Decoded = tuple[int, list[np.ndarray] | str, Seen]
"""Row, pixels for each transform or the reason for their absence, and the image's record."""


class ImageBatch(NamedTuple):
    """Pixels of some rows of one shard."""

    rows: list[int]
    """Store rows of the images that could be read, in order."""
    pixels: dict[Transform, torch.Tensor]
    """Distinct transform to its pixels: uint8, dims (image, height, width, 3)."""
    failed: dict[int, str]
    """Store row to reason, for images that could not be read."""
    seen: dict[int, Seen]
    """Store row to the record of the image, for all rows."""
    shard: int = -1
    """Shard number; -1 in a worker process, which does not know it."""


class Pixels(TorchDataset):
    """Store row to transformed pixels; what a worker process runs."""

    def __init__(
        self, dataset: Dataset, index: np.ndarray, transforms: tuple[Transform, ...]
    ) -> None:
        self.dataset = dataset
        self.index = index
        """(store row,) int: the image's place in the dataset."""
        self.transforms = transforms

    def __getitem__(self, row: int) -> Decoded:
        place = int(self.index[row])
        file = self.dataset.file(place)
        try:
            pixels = self.dataset.image(place)
            image = Image.fromarray(pixels)
            arrays = [transform(image) for transform in self.transforms]
        except DecodeError as error:
            return row, error.reason, Seen("", file)
        return row, arrays, Seen(protocol.fingerprint(pixels), file)


def batches_of(rows: dict[int, range], size: int) -> list[tuple[int, list[int]]]:
    """(shard, rows) in shard order, at most `size` rows each; no batch crosses a shard."""
    return [
        (shard, list(part[k : k + size]))
        for shard, part in rows.items()
        for k in range(0, len(part), size)
    ]


def image_batches(
    pixels: Pixels, plan: Sequence[tuple[int, list[int]]], *, workers: int, gpu: bool
) -> Iterator[ImageBatch]:
    """Decoded batches in the order of the plan.

    Parameters
    ----------
    pixels : Pixels
        Images to decode.
    plan : sequence of (shard, rows)
        From :func:`batches_of`.
    workers : int
        Worker processes, always ahead of the caller; 0 for threads of this process.
    gpu : bool
        Whether the caller computes on a GPU: one thread is two batches ahead of it, and worker
        processes fill page-locked memory, for asynchronous transfer. On a CPU as many threads as
        torch has decode the next images while the caller waits: the forward pass waits for its
        slowest thread again and again, so decoding beside it costs more than it brings.
    """
    if workers:
        yield from Decoders(pixels, workers, gpu=gpu).batches(plan)
        return
    collated = _Collate(pixels.transforms)
    coming: deque[list[Future]] = deque()
    later = iter(plan)
    together = (
        3 if gpu else max(1, DECODED_TOGETHER // max((len(rows) for _, rows in plan), default=1))
    )
    with ThreadPoolExecutor(max_workers=1 if gpu else torch.get_num_threads()) as decoder:
        for shard, _ in plan:
            if gpu or not coming:
                for _, wanted in itertools.islice(later, together - len(coming)):
                    coming.append([decoder.submit(pixels.__getitem__, row) for row in wanted])
                if not gpu:
                    wait(itertools.chain.from_iterable(coming))
            found = collated([item.result() for item in coming.popleft()])
            if gpu:
                found = found._replace(pixels={t: x.pin_memory() for t, x in found.pixels.items()})
            yield found._replace(shard=shard)


class Decoders:
    """Worker processes that decode, kept from one pass to the next: starting them takes seconds."""

    def __init__(self, pixels: Pixels, workers: int, *, gpu: bool) -> None:
        self._wanted = _Wanted()
        self._loader: Any = DataLoader(
            pixels,
            batch_sampler=self._wanted,
            num_workers=workers,
            collate_fn=_Collate(pixels.transforms),
            pin_memory=gpu,
            prefetch_factor=2,
            persistent_workers=True,
            worker_init_fn=_set_up_decoder,
            multiprocessing_context=_start_method(),
            generator=torch.Generator(),  # without it the caller's random numbers change
        )

    def batches(self, plan: Sequence[tuple[int, list[int]]]) -> Iterator[ImageBatch]:
        """Decoded batches in the order of the plan; one pass at a time.

        Raises
        ------
        InputError
            A process was killed.
        """
        self._wanted.rows = [rows for _, rows in plan]
        try:
            for (shard, _), collated in zip(plan, self._loader, strict=True):
                yield collated._replace(shard=shard)
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):
                raise
            raise InputError(
                "a decoding process was killed, probably out of memory; what is committed "
                "is safe: repeat the command, with fewer --workers"
            ) from error


def _start_method() -> str:
    """The program's start method, or the platform's if none is set; asking must not set it."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or multiprocessing.get_all_start_methods()[0]


class _Wanted:
    """Rows of each batch of the pass under way, as the loader asks for them when it begins."""

    rows: Sequence[list[int]] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.rows)


def _set_up_decoder(worker: int) -> None:
    ignore_interrupts()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Collate:
    """Stack what was read; keep the reasons of what was not. A class so that it can be pickled."""

    def __init__(self, transforms: tuple[Transform, ...]) -> None:
        self.transforms = transforms

    def __call__(self, items: list[Decoded]) -> ImageBatch:
        good = [(row, arrays) for row, arrays, _ in items if not isinstance(arrays, str)]
        failed = {row: reason for row, reason, _ in items if isinstance(reason, str)}
        pixels = {
            t: torch.from_numpy(np.stack([arrays[k] for _, arrays in good]))
            if good
            else torch.empty((0, t.height, t.width, 3), dtype=torch.uint8)
            for k, t in enumerate(self.transforms)
        }
        seen = {row: of for row, _, of in items}
        return ImageBatch([row for row, _ in good], pixels, failed, seen)
