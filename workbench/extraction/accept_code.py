"""Resume sources that other code began: recompute a committed shard and compare it.

Where only the code differs, a recomputed value v has to equal the stored value s. Other library
versions may sum in another order; then

    |v - s| <= max(unit in the last place of the stored dtype at max(|v|, |s|), ROUNDING max |s|)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from feature_store import FeatureStore, InputError, Source
from feature_store.accepted_code import accept, differs_in_code_only, is_accepted
from feature_store.recorded_images import records
from feature_store.stored_source import StoredSource
from feature_store.subsample import keep
from workbench.extraction.image_loader import Pixels, batches_of, image_batches
from workbench.extraction.loaded_models import LoadedModel
from workbench.extraction.shard import forward
from workbench.models import Tokens

ROUNDING = 2.0**-20
"""Tolerance as a share of a shard's largest value: float32 forward passes of two implementations
were seen to differ by up to 7e-7 of the largest feature."""


def accept_code(
    store: FeatureStore,
    model: LoadedModel,
    manifests: Mapping[Source, dict[str, Any]],
    pixels: Pixels,
    batch: int,
) -> list[str]:
    """List this code with every source of a model whose stored values it gives.

    Sources that are new, or that differ in more than their code, are left to
    :meth:`FeatureStore.add_source`.

    Parameters
    ----------
    manifests : mapping of Source to dict
        Manifest of each source as this code computes it.
    batch : int
        Images that run together.

    Returns
    -------
    list of str
        One line of prose for each source that lists this code now.

    Raises
    ------
    InputError
        No shard is committed that could be compared, or the values differ. No source was changed.
    """
    present = set(store.sources())
    found = [(store.source(s), m) for s, m in manifests.items() if str(s) in present]
    begun = [  # what the store adds to a manifest stays
        (stored, stored.manifest | manifest | stored.source.as_stored) for stored, manifest in found
    ]
    changed = [
        (stored, manifest)
        for stored, manifest in begun
        if differs_in_code_only(stored, manifest) and not is_accepted(stored, manifest)
    ]
    shards = _choose_shards([stored for stored, _ in changed])
    comparisons = [Recomputed(*one, shard) for one, shard in zip(changed, shards, strict=True)]
    for shard in sorted(set(shards)):
        _recompute(model, [c for c in comparisons if c.shard == shard], pixels, batch)
    for comparison in comparisons:
        comparison.refuse_difference()
    for c in comparisons:
        accept(c.stored, c.manifest, shard=c.shard, largest_difference=c.largest)
    return [
        f"{c.stored.source}: this code was accepted; it gave shard {c.shard} with a largest "
        f"difference of {c.largest:.3g}"
        for c in comparisons
    ]


def _choose_shards(sources: list[StoredSource]) -> list[int]:
    """A committed shard of each source; the same for all where they have one in common, because
    scales that run together share forward passes."""
    committed = [_readable_shards(stored) for stored in sources]
    common = set.intersection(*committed) if committed else set()
    return [min(common or shards) for shards in committed]


def _readable_shards(stored: StoredSource) -> set[int]:
    """Committed shards with an image that could be read."""
    shards = {
        record.shard
        for record in records(stored)  # a damaged one will be computed again
        if len(record.failed) < record.stop - record.start and stored.has_files(record.shard)
    }
    if not shards:
        raise InputError(
            f"{stored.objects.url}: {stored.source} has no committed shard for --accept-code to "
            f"compare with; extract into another store"
        )
    return shards


class Recomputed:
    """One shard of a source as it is stored and as this code computes it."""

    def __init__(self, stored: StoredSource, manifest: dict[str, Any], shard: int) -> None:
        record = stored.record(shard)
        assert record is not None
        self.stored, self.manifest, self.shard = stored, manifest, shard
        self.values = stored.committed_values(shard)
        self.start = record.start
        self.rows = [r for r in range(record.start, record.stop) if str(r) not in record.failed]
        """Rows whose images could be read."""
        self.largest = 0.0
        """Largest absolute difference so far; NaN if a recomputed value is NaN."""
        self.compared = 0
        """Rows compared so far."""
        self.differs = False
        """Whether a difference is too large."""

    @property
    def exact(self) -> bool:
        """Whether the libraries are those of the stored values."""
        return self.stored.manifest["libraries"] == self.manifest["libraries"]

    def add(self, rows: list[int], tokens: Tokens) -> None:
        """Compare recomputed features of some rows."""
        wanted = [k for k, row in enumerate(rows) if row in self.rows]
        places = [rows[k] - self.start for k in wanted]
        self.compared += len(wanted)
        for name, found in (("tokens", tokens.map), ("prefix", tokens.prefix)):
            if name not in self.values or not wanted:
                continue
            dtype = getattr(torch, self.values[name].dtype.name)
            now = found[wanted].to(dtype).cpu().numpy()
            if name == "tokens" and self.stored.kept:
                now = keep(now, self.values["position"][places])
            stored = self.values[name][places]
            difference = np.abs(now.astype(np.float64) - stored)
            self.largest = float(np.maximum(self.largest, difference.max(initial=0)))
            self.differs |= not (difference <= self._allowed(name, now, stored)).all()

    def _allowed(self, name: str, now: np.ndarray, stored: np.ndarray) -> np.ndarray | float:
        if self.exact:
            return 0.0
        unit = np.spacing(np.maximum(np.abs(now), np.abs(stored))).astype(np.float64)
        return np.maximum(unit, ROUNDING * np.nanmax(np.abs(self.values[name])))

    def refuse_difference(self) -> None:
        """Refuse (InputError) a difference too large, and a shard none of whose images is read."""
        where = f"shard {self.shard} of {self.stored.source}"
        if not self.compared:
            raise InputError(f"none of the images of {where} can be read, so nothing was compared")
        if self.differs:
            dtype = self.values["tokens"].dtype.name
            expected = "equal values" if self.exact else f"at most the rounding of {dtype}"
            raise InputError(
                f"this code does not give {where} as it is stored in {self.stored.objects.url}: "
                f"the largest difference is {self.largest:.3g}, expected {expected}. Nothing was "
                f"changed; extract into another store, or repeat with the --device, --batch and "
                f"--max-crops of the first run"
            )


def _recompute(
    model: LoadedModel, comparisons: list[Recomputed], pixels: Pixels, batch: int
) -> None:
    """Run the images of one shard and compare what comes out."""
    plans = {c.stored.source: model.job.plans[c.stored.source] for c in comparisons}
    rows = max((range(c.start, c.rows[-1] + 1) for c in comparisons), key=len)
    gpu = model.backbone.device.type != "cpu"
    for images in image_batches(pixels, batches_of({0: rows}, batch), workers=0, gpu=gpu):
        if images.rows:
            found = forward(model, plans, images)
            for comparison in comparisons:
                comparison.add(images.rows, found[comparison.stored.source])
