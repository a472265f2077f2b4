"""Second moments of batches, or of all images of a store or a stream in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import Moments, MomentsConfig
from analyses.reading import passes
from analyses.reading.engine import Engine
from analyses.reading.features import Batch, Features
from analyses.reading.passes import Reading
from feature_store.errors import InputError


def from_features(
    features: Features,
    reading: Reading,
    config: MomentsConfig | None = None,
    *,
    engine: Engine | None = None,
) -> Moments:
    """Moments of the sources that are read, over all images.

    Raises
    ------
    InputError
        No image at all, or anything that :meth:`Accumulator.update` refuses.
    """
    step = partial(
        moments_of,
        sources=reading.sources,
        config=config,
        shift=shared_shift(features, reading, config),
    )
    found = passes.reduce(features, reading, step, Moments.combine, engine=engine)
    if found is None:
        raise InputError(f"no images to accumulate for {', '.join(reading.sources)}")
    return found


def from_batches(
    batches: Iterable[Batch], sources: Sequence[str], config: MomentsConfig | None = None
) -> Moments:
    """Moments of the named single-scale sources over an iterable of batches.

    Parameters
    ----------
    batches : iterable
        Objects with ``tokens`` and ``index`` as in :meth:`Accumulator.update`, such as
        ``store.stream(sources)``.
    sources : sequence of str
        Keys of ``tokens`` to accumulate.

    Raises
    ------
    InputError
        No image at all, or anything that :meth:`Accumulator.update` refuses.
    """
    found = moments_of(batches, sources, config)
    if found is None:
        raise InputError(f"no images to accumulate for {', '.join(sources)}")
    return found


def moments_of(
    batches: Iterable[Batch],
    sources: Sequence[str],
    config: MomentsConfig | None = None,
    shift: np.ndarray | None = None,
) -> Moments | None:
    """As :func:`from_batches`, with the tokens shifted by `shift`; None if there is no image."""
    accumulator: Accumulator | None = None
    for batch in batches:
        if accumulator is None:
            channels = {name: batch.tokens[name].shape[3] for name in sources}
            accumulator = Accumulator(channels, config, shift)
        accumulator.update(batch.tokens, batch.index)
    return accumulator.result() if accumulator is not None and accumulator.images else None


def shared_shift(
    features: Features, reading: Reading, config: MomentsConfig | None
) -> np.ndarray | None:
    """Shift of the tokens of all parts; None if there is one part, which chooses its own."""
    few = passes.first_images(features, reading)
    if few is None:
        return None
    accumulator = Accumulator({n: few.tokens[n].shape[3] for n in reading.sources}, config)
    accumulator.update(few.tokens, few.index)
    return accumulator.shift
