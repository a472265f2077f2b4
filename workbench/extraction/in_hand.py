"""One shard in hand: its buffers and claims, the forward pass into them, the cast."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from feature_store import Source
from feature_store.claims import Claim
from feature_store.writer import CastStatistics, SourceWriter
from workbench.extraction.images import ImageBatch
from workbench.extraction.jobs import Job
from workbench.models import Backbone, Tokens
from workbench.multiscale import CropLimit, Plan, features


@dataclass
class LoadedModel:
    """A loaded model with the writers of the sources that still miss shards."""

    job: Job
    backbone: Backbone
    writers: dict[Source, SourceWriter]
    limit: CropLimit


@dataclass
class ShardInHand:
    """One shard's features while they are computed, and the claims on it."""

    shard: int
    todo: range
    claims: list[Claim] = field(default_factory=list)
    writers: dict[Source, SourceWriter] = field(default_factory=dict)
    dtype: dict[Source, torch.dtype] = field(default_factory=dict)
    statistics: dict[Source, CastStatistics | None] = field(default_factory=dict)
    tokens: dict[Source, np.ndarray] = field(default_factory=dict)
    prefix: dict[Source, np.ndarray] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def cast(values: torch.Tensor, dtype: torch.dtype, counted: CastStatistics | None) -> np.ndarray:
    """Features in the stored dtype on the host, what the cast does to them counted.

    Done by torch, and on its device: numpy converts to float16 one number at a time.
    """
    stored = values.to(dtype)
    if counted is None:
        return stored.cpu().numpy()
    error = values - stored
    largest, square_sum, square_error = (
        values.abs().amax(),
        values.square().sum(),
        error.square().sum(),
    )
    counted.merge(CastStatistics(float(largest), float(square_sum), float(square_error)))
    return stored.cpu().numpy()


def forward(
    model: LoadedModel, group: dict[Source, Plan], batch: ImageBatch
) -> dict[Source, Tokens]:
    """All scales that start from one base image; crops of equal size share forward passes."""
    job, backbone = model.job, model.backbone
    pixels = {
        how.scale: backbone.normalise(batch.pixels[job.transform(how)])
        for how in group.values()
        if how.scale.raw
    }
    bases = [how for how in group.values() if not how.scale.raw]
    base = (
        backbone.normalise(batch.pixels[job.transform(bases[0])])
        if bases
        else next(iter(pixels.values()))  # not looked at: every scale has images of its own
    )
    scales = [how.scale for how in group.values()]
    found = features(backbone, base, scales, raw=pixels, max_crops=model.limit)
    return {source: found[how.scale] for source, how in group.items()}


def release(held: ShardInHand) -> None:
    """Let go of the shard's claims."""
    for claim in held.claims:
        claim.__exit__(None, None, None)
