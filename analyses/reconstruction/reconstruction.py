"""How much of a model's representation is a linear function of another's (S2 paper, Table 2)?

A linear map from each source to the target is fitted on all tokens of the training images; its
loss l is the mean over tokens and channels of the squared error, l0 that of the training mean.
Information I = -log2(l / l0) in bits; the ratio I / I* compares it with a reference source,
usually the largest model. Source: S2 paper, section 4.2 and appendix B.

Deviations, all on purpose: the map is exact (from second moments) instead of trained; it is
regularised by default, because tokens of one image are not independent (``ridge=0`` is the paper's
way); test information has an interval over resampled images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from analyses.linear import from_moments
from analyses.moments import on_disk
from analyses.moments.accumulate import from_batches
from analyses.moments.second_moments import Moments
from analyses.reading import passes
from analyses.reading.batches import batches, refuse_shared_images, singles
from analyses.reading.grids import pooled
from analyses.reading.partition import Engine
from analyses.reconstruction import errors as held_out
from analyses.reconstruction.question import Question, ReconstructionConfig
from analyses.reconstruction.result import ROW_FIELDS, assemble, rows
from analyses.reconstruction.scale_subsets import subsets
from feature_store import FeatureStore

__all__ = ["ROW_FIELDS", "Question", "ReconstructionConfig", "answer", "compute", "fit", "rows"]


def compute(
    train_store: Any,
    test_store: Any,
    *,
    target: str,
    sources: Sequence[str],
    reference: str | None = None,
    config: ReconstructionConfig | None = None,
    engine: Engine | None = None,
) -> xr.Dataset:
    """Reconstruct the target from each source on training images, judge on test images.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Stores that hold all sources and share no image.
    target, reference : str
        Sources such as ``timm:vit_large_patch16_224@224``. The reference becomes a row as well;
        without one, ratios are NaN.
    sources : sequence of str
        Single-scale or S2 sources.
    config : ReconstructionConfig, optional
    engine : Engine, optional
        Makes the moments and measures the errors, piece by piece of the stores.

    Returns
    -------
    xarray.Dataset
        Along ``source``: the fields of :data:`ROW_FIELDS` and ``dof``, ``tokens_per_channel``,
        ``test_ratio_low``, ``test_ratio_high``; ``loss_map`` and ``info_map`` (source, row, col),
        ``channel_info`` (source, channel), all on test images; ``draws`` (source, draw). With
        ``decompose``: ``alone`` and ``unique`` (source, split, scale), ``together`` and ``shared``
        (source, split) for S2 sources; ``train_isotropic_bits`` (the paper's assumption),
        ``train_channelwise_bits``, ``train_full_bits`` (log-det, per channel); ``rank_info``
        (source, rank) on training images. Bits and squared feature units. ``attrs``: target,
        reference, image and token counts, configuration and ``warnings`` (list of str). A target
        without variance has 0 bits.

    Raises
    ------
    InputError
        Sources not stored or incomplete, train and test sharing images, differing token grids.
    """
    config = config or ReconstructionConfig()
    refuse_shared_images(train_store, test_store)
    question = Question.resolve(train_store, target, sources, reference)
    for name in question.used:
        singles(test_store, name)  # refuses what is not stored before the first pass
    return answer(
        question,
        _moments(train_store, question, config, engine),
        OnEngine(engine, test_store)
        if engine is not None
        else _batches(test_store, question.used, config, "test"),
        config,
    )


@dataclass(frozen=True)
class OnEngine:
    """Test images that are measured piece by piece of their store."""

    engine: Engine
    store: FeatureStore


def answer(
    question: Question,
    train: Moments | Iterable[Any],
    test: Iterable[Any] | OnEngine,
    config: ReconstructionConfig | None = None,
) -> xr.Dataset:
    """The result of :func:`compute` from batches of tokens, wherever they come from.

    Parameters
    ----------
    question : Question
    train : Moments or iterable
        Training moments, or batches to make them from: objects with ``tokens`` (dict of arrays,
        dims (image, row, col, channel), for all of ``question.used``) and ``index`` (row numbers).
    test : iterable or OnEngine
        Batches of other images; read once, after the maps are fitted.
    config : ReconstructionConfig, optional
    """
    config = config or ReconstructionConfig()
    if not isinstance(train, Moments):
        options = config.accumulation(question)
        train = from_batches(train, question.used, options)
    goal = question.parts(question.target)
    wanted = [question.parts(name) for name in question.sources]
    if config.decompose:
        wanted += [subset for part in wanted if len(part) > 1 for subset in subsets(part)]
    maps = {part: fit(train, part, goal, config) for part in dict.fromkeys(wanted)}
    how = {"precision": config.precision, "device": config.device}
    if isinstance(test, OnEngine):
        errors = passes.errors(
            test.engine, test.store, question.used, list(maps.values()), goal,
            grid=config.grid, **how,
        )  # fmt: skip
    else:
        errors = held_out.measure(test, list(maps.values()), goal, **how)
    return assemble(question, train, maps, errors, config)


def fit(
    moments: Moments,
    source: Sequence[str],
    target: Sequence[str],
    config: ReconstructionConfig | None = None,
) -> from_moments.Solution:
    """Fit one map from training moments, its ridge chosen as the configuration says.

    `source` and `target` are single-scale sources side by side; any that the moments hold.
    """
    config = config or ReconstructionConfig()
    if config.ridge == "auto":
        chosen = from_moments.cross_validate(moments, source, target).best
    else:
        chosen = float(config.ridge)
    return from_moments.solve(moments, source, target, chosen)


def _moments(
    store: Any, question: Question, config: ReconstructionConfig, engine: Engine | None
) -> Moments:
    """Training moments: kept ones, or in one pass over the store."""
    options = config.accumulation(question, store)
    if config.moments:
        return on_disk.from_store(
            store,
            question.used,
            config.moments,
            options,
            grid=config.grid,
            read=lambda names, done: _batches(store, names, config, "train", done),
            engine=engine,
        )
    if engine is not None:
        return passes.moments(engine, store, question.used, options, grid=config.grid)
    return from_batches(_batches(store, question.used, config, "train"), question.used, options)


def _batches(
    store: Any,
    used: list[str],
    config: ReconstructionConfig,
    what: str,
    done: np.ndarray | None = None,
) -> Iterable:
    found = batches(store, used, done=done, progress=config.progress, label=what)
    return pooled(found, used) if config.grid == "pool" else found
