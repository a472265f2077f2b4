"""One pass over the tokens of a store or a stream: read a part, compute, combine.

The parts and the order in which their results are combined depend on the store alone, so the
default engine, which is this process, and any number of workers give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from analyses.reading.engine import Engine, Local
from analyses.reading.features import Batch, Features
from analyses.reading.grids import TokenBatch, on_common_grid
from analyses.reading.partition import Part, parts
from analyses.reading.progress import Bar

Result = TypeVar("Result")

FIRST_IMAGES = 16
"""Images that :func:`first_images` gives: any centre near the mean token will do as a shift."""


@dataclass(frozen=True)
class Reading:
    """Sources and images that a pass reads."""

    sources: Sequence[str]
    """Full names of single-scale sources."""
    grid: str = "same"
    """``same``, or ``pool``, which averages the maps of a batch onto their common grid."""
    done: np.ndarray | None = None
    """bool, dims (image,): rows that are left out."""
    label: str = ""
    """Label of the progress bar; empty shows none."""
    cells: tuple[int, int] | None = None
    """(rows, cols) to average onto with ``pool``, if other maps share that grid."""

    def batches(self, part: Part, bar: Bar | None = None) -> Iterator[Batch]:
        """Tokens of a part's images, except for images that are done."""
        for batch in part.stream(self.sources, self.done):
            if bar is not None:
                bar.update(len(batch.index))
            remaining = _remaining(batch, self.sources, self.done)
            if len(remaining.index):
                pooled = self.grid == "pool"
                yield on_common_grid(remaining, self.cells) if pooled else remaining


def reduce(
    features: Features,
    reading: Reading,
    compute: Callable[[Iterator[Batch]], Result | None],
    combine: Callable[[Result, Result], Result],
    *,
    engine: Engine | None = None,
) -> Result | None:
    """Apply `compute` to the batches of each part and combine the results in order.

    None if no part has an image.

    Parameters
    ----------
    compute : callable
        Turns an iterator of batches into a result; returns None if there is no batch.
    combine : callable
        Combines two results, in order, into one; associative.
    engine : Engine, optional
        Runs the parts; this process by default.
    """
    with Bar(reading.label, len(features.image_ids)) as bar:
        return (engine or Local()).reduce(
            partial(_computed, reading, compute, bar), partial(_combined, combine), parts(features)
        )


def each_part(
    features: Features,
    reading: Reading,
    compute: Callable[[Iterator[Batch]], Result],
    work: Iterable[Part],
    *,
    engine: Engine | None = None,
) -> Iterator[Result]:
    """Yield the results of `compute` on the batches of each of these parts, in order."""
    with Bar(reading.label, len(features.image_ids)) as bar:
        yield from (engine or Local()).map(partial(_computed, reading, compute, bar), work)


def first_images(features: Features, reading: Reading) -> Batch | None:
    """A few readable images at the start, the same ones whichever rows are done.

    None if there is only one part, whose own first images are the same.
    """
    work = parts(features)
    if len(work) > 1:
        for part in work:
            for batch in replace(reading, done=None).batches(part):
                tokens = {name: array[:FIRST_IMAGES] for name, array in batch.tokens.items()}
                return TokenBatch(batch.index[:FIRST_IMAGES], tokens)
    return None


def _computed(
    reading: Reading, compute: Callable[[Iterator[Batch]], Result], bar: Bar, part: Part
) -> Result:
    return compute(reading.batches(part, bar))


def _combined(combine: Callable[[Any, Any], Any], first: Any, second: Any) -> Any:
    """Combined, where a part without readable images gives None."""
    if first is None or second is None:
        return second if first is None else first
    return combine(first, second)


def _remaining(batch: Batch, sources: Sequence[str], done: np.ndarray | None) -> Batch:
    """The images of a batch that are not done; a batch may hold both kinds."""
    tokens = {name: batch.tokens[name] for name in sources}
    if done is None or not done[batch.index].any():
        return TokenBatch(batch.index, tokens)
    rows = np.flatnonzero(~done[batch.index])
    return TokenBatch(batch.index[rows], {name: array[rows] for name, array in tokens.items()})
