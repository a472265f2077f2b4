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

from collections.abc import Sequence
from functools import partial

import xarray as xr

from analyses.linear import from_moments
from analyses.moments import on_disk, one_pass
from analyses.moments.second_moments import Moments
from analyses.reading import passes
from analyses.reading.engine import Engine
from analyses.reading.features import Features, singles
from analyses.reading.grids import common_grid, grids_of, pooling_note
from analyses.reading.passes import Reading
from analyses.reading.splits import held_out, refuse_shared_images
from analyses.reconstruction.errors import Errors, measure
from analyses.reconstruction.question import ReconstructionConfig, ReconstructionQuestion
from analyses.reconstruction.result import ROW_FIELDS, assemble, rows
from analyses.reconstruction.scale_subsets import Subset, subsets
from feature_store.errors import InputError

__all__ = ["ROW_FIELDS", "ReconstructionConfig", "ReconstructionQuestion", "compute", "fit", "rows"]


def compute(
    train_store: Features,
    test_store: Features,
    *,
    target: str,
    sources: str | Sequence[str],
    reference: str | None = None,
    config: ReconstructionConfig | None = None,
    engine: Engine | None = None,
) -> xr.Dataset:
    """Reconstruct the target from each source on training images, evaluate on test images.

    Parameters
    ----------
    train_store, test_store : FeatureStore or Stream
        Have all sources, and no image in common.
    target, reference : str
        Sources such as ``timm:vit_large_patch16_224@1x``. The reference becomes a row as well;
        without one, ratios are NaN.
    engine : Engine, optional
        Reads the partitions of the stores; this process by default.

    Returns
    -------
    xarray.Dataset
        Along ``source``: the fields of :data:`ROW_FIELDS` and ``dof``, ``tokens_per_channel``,
        ``test_ratio_low``, ``test_ratio_high``; ``loss_map`` and ``info_map`` (source, row, col),
        ``channel_info`` (source, channel), all on test images; ``resampled`` (source,
        resample), the test information of every bootstrap resample. With
        ``decompose``: ``alone`` and ``unique`` (source, split, scale), ``together`` and ``shared``
        (source, split) for S2 sources; ``train_isotropic_bits`` (the paper's assumption),
        ``train_channelwise_bits``, ``train_full_bits`` (log-det, per channel); ``rank_info``
        (source, rank) on training images. Bits and squared feature units. ``attrs``: target,
        reference, image and token counts, configuration, ``warnings`` and ``notes`` (lists of
        str; a note says which maps are averaged to which grid). A target without variance has 0
        bits.

    Raises
    ------
    InputError
        Sources not stored or incomplete, train and test sharing images, or with ``grid="same"``
        differing token grids.
    """
    config = config or ReconstructionConfig()
    refuse_shared_images(train_store, test_store)
    question = ReconstructionQuestion.resolve(train_store, target, sources, reference)
    for name in question.used:
        singles(test_store, name)  # refuses what is not stored before the first pass
    note = pooling_note(grids_of(train_store, question.used)) if config.grid == "pool" else None
    train = _moments(train_store, question, config, engine)
    # A stream has decoded its training images by now.
    images = held_out(train_store, test_store, keep_shared=config.keep_shared)
    maps = _maps(train, question, config)
    step = partial(
        measure,
        solutions=list(maps.values()),
        target=question.parts(question.target),
        precision=config.precision,
        device=config.device,
    )
    grids = set(grids_of(train_store, train.channels).values())  # stored moments may have more
    reading = Reading(
        question.used,
        config.grid,
        done=images.left_out,
        label="test" if config.progress else "",
        cells=common_grid(grids) if len(grids) > 1 else None,
    )
    errors = passes.reduce(test_store, reading, step, Errors.combine, engine=engine)
    if errors is None:
        raise InputError("no images to measure the reconstruction on")
    result = assemble(question, train, maps, errors, config)
    result.attrs["notes"] = [note] if note else []
    result.attrs["shared_images"] = images.report()
    return result


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


def _maps(
    train: Moments, question: ReconstructionQuestion, config: ReconstructionConfig
) -> dict[Subset, from_moments.Solution]:
    """Maps of the rows, in order, then of the subsets of scales that ``decompose`` needs."""
    wanted = [question.parts(name) for name in question.sources]
    if config.decompose:
        wanted += [subset for part in wanted if len(part) > 1 for subset in subsets(part)]
    goal = question.parts(question.target)
    return {part: fit(train, part, goal, config) for part in dict.fromkeys(wanted)}


def _moments(
    features: Features,
    question: ReconstructionQuestion,
    config: ReconstructionConfig,
    engine: Engine | None,
) -> Moments:
    """Training moments: stored ones, or in one pass over the images."""
    reading = Reading(question.used, config.grid, label="train" if config.progress else "")
    options = config.accumulation(question)
    if config.moments:
        return on_disk.from_features(features, reading, config.moments, options, engine=engine)
    return one_pass.from_features(features, reading, options, engine=engine)
