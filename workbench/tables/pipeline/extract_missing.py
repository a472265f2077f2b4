"""Extract only the features that the stores behind tables lack."""

from __future__ import annotations

from collections.abc import Callable

from feature_store import InputError
from workbench.extraction import ExtractRequest, extract
from workbench.tables.pipeline.existing_stores import Missing
from workbench.tables.pipeline.profile import DataSplit, Profile

Log = Callable[[str], None]


def extract_missing(split: DataSplit, missing: Missing, profile: Profile, log: Log) -> bool:
    """Extract what :func:`~.existing_stores.missing_sources` found; whether anything was computed.

    Raises
    ------
    InputError
        As :func:`workbench.extraction.extract`, or the extraction was asked to stop.
    """
    by_scales: dict[tuple[str, ...], list[str]] = {}
    for model, scales in missing.items():
        by_scales.setdefault(tuple(scales), []).append(model)
    extended = False
    path = profile.path(split)
    for together, models in by_scales.items():
        log(f"extract {split.dataset}: {', '.join(models)} at {' + '.join(together)}")
        request = ExtractRequest(
            dataset=split.dataset, models=models, scales=together, store=path, limit=split.limit,
            arithmetic=profile.arithmetic, device=profile.device, workers=profile.workers,
            shard_images=profile.shard_images,
        )  # fmt: skip
        done = extract(request, log=log)
        if done.interrupted or done.busy:
            raise InputError(f"stopped at {path}; repeat the command to resume")
        extended |= done.shards > 0
    return extended
