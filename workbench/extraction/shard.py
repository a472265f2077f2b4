"""The buffers of one shard, the forward pass, and the cast and copy of its features into them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from feature_store import Source
from feature_store.casting import CastStatistics
from feature_store.claims import Claim
from feature_store.writer import ShardImages, SourceWriter
from workbench.extraction.image_loader import ImageBatch, Seen
from workbench.extraction.loaded_models import LoadedModel
from workbench.models import Tokens
from workbench.multiscale import ScalePlan, features


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Features of one batch on their way from the device into a shard's buffer."""

    stored: torch.Tensor
    """In the stored dtype, on the host; its values are there once ``arrived`` has happened."""
    sums: torch.Tensor | None
    """Largest absolute value, sum of squares, sum of squared cast errors; None: not counted."""
    arrived: torch.cuda.Event | None
    """None if there is nothing to wait for."""
    into: np.ndarray
    """The shard's buffer."""
    rows: np.ndarray
    """Rows of the buffer."""
    counted: CastStatistics | None
    """Receives the sums."""

    def finish(self) -> None:
        """Wait for the values and put them into their rows."""
        if self.arrived is not None:
            self.arrived.synchronize()
        self.into[self.rows] = self.stored.numpy()
        if self.counted is not None and self.sums is not None:
            self.counted.merge(CastStatistics(*self.sums.tolist()))


@dataclass
class ShardBuffers:
    """Features of one shard while they are computed, and the claims on it."""

    shard: int
    todo: range
    claims: list[Claim] = field(default_factory=list)
    writers: dict[Source, SourceWriter] = field(default_factory=dict)
    statistics: dict[Source, CastStatistics | None] = field(default_factory=dict)
    tokens: dict[Source, np.ndarray] = field(default_factory=dict)
    prefix: dict[Source, np.ndarray] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    seen: dict[int, Seen] = field(default_factory=dict)
    """Records of the images of these rows."""
    copies: list[Copy] = field(default_factory=list)
    """Features that are still being copied."""

    def finish_copies(self, keep: int = 0) -> None:
        """Wait for all copies but the newest ones."""
        while len(self.copies) > keep:
            self.copies.pop(0).finish()

    def images(self, rows: range) -> ShardImages:
        """Facts about the images of these rows, for the commit record."""
        seen = [self.seen[row] for row in rows]
        files = [one.file for one in seen]
        return ShardImages(
            fingerprints=[one.fingerprint for one in seen], files=files if any(files) else None
        )

    def release(self) -> None:
        """Give up the claims."""
        for claim in self.claims:
            claim.__exit__(None, None, None)


def start_copy(
    values: torch.Tensor, into: np.ndarray, rows: np.ndarray, counted: CastStatistics | None
) -> Copy:
    """Cast features to the buffer's dtype and send them to the host, without waiting for a GPU.

    The cast is done by torch, and on its device: numpy converts to float16 one number at a time.
    """
    cuda = values.device.type == "cuda"
    stored = values.to(getattr(torch, into.dtype.name))
    sums = None
    if counted is not None:
        squares = [sum_of_squares(values), sum_of_squares(values - stored)]
        sums = torch.stack([values.abs().amax().to(squares[0]), *squares])
        sums = sums.to("cpu", non_blocking=cuda)
    host = stored.to("cpu", non_blocking=cuda)
    arrived = None
    if cuda:
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(values.device))
    return Copy(stored=host, sums=sums, arrived=arrived, into=into, rows=rows, counted=counted)


def sum_of_squares(values: torch.Tensor) -> torch.Tensor:
    """float64 sum over all values: that of each image is rounded to float32 first.

    Sums of such numbers are exact in practice, so that a record does not depend on the batches in
    which its images came; :meth:`CastStatistics.add` does the same.
    """
    wide = torch.float32 if values.device.type == "mps" else torch.float64  # which MPS lacks
    each = values.square().flatten(1).sum(1, dtype=wide)
    return each.float().to(wide).sum()


def forward(
    model: LoadedModel, plans: dict[Source, ScalePlan], batch: ImageBatch
) -> dict[Source, Tokens]:
    """Features of a batch at several scales; scales with a common base image run together."""
    found: dict[Source, Tokens] = {}
    for base in dict.fromkeys(plan.base for plan in plans.values()):
        group = {source: plan for source, plan in plans.items() if plan.base == base}
        found |= _from_one_base(model, group, batch)
    return found


def _from_one_base(
    model: LoadedModel, group: dict[Source, ScalePlan], batch: ImageBatch
) -> dict[Source, Tokens]:
    job, backbone = model.job, model.backbone
    pixels = {
        plan.scale: backbone.normalise(batch.pixels[job.transform(plan)])
        for plan in group.values()
        if plan.scale.raw
    }
    bases = [plan for plan in group.values() if not plan.scale.raw]
    base = (
        backbone.normalise(batch.pixels[job.transform(bases[0])])
        if bases
        else next(iter(pixels.values()))  # not looked at: every scale has images of its own
    )
    scales = [plan.scale for plan in group.values()]
    found = features(backbone, base, scales, raw=pixels, max_crops=model.limit)
    return {source: found[plan.scale] for source, plan in group.items()}
