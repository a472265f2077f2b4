"""Extract what the stores behind tables lack, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from feature_store import InputError
from workbench.tables.pipeline.existing_stores import Lacking
from workbench.tables.pipeline.profile import Profile, Split

Say = Callable[[str], None]


def fill(split: Split, lacking: Lacking, profile: Profile, say: Say) -> bool:
    """Extract what :func:`~.existing_stores.lacking` found; whether anything was computed.

    Raises
    ------
    InputError
        As :func:`workbench.extraction.extract`, or the extraction was asked to stop.
    """
    by_scales: dict[tuple[str, ...], list[str]] = {}
    for model, scales in lacking.items():
        by_scales.setdefault(tuple(scales), []).append(model)
    if not by_scales:
        return False
    from workbench.extraction import ExtractRequest, extract

    extended = False
    path = profile.path(split)
    for together, models in by_scales.items():
        say(f"extract {split.dataset}: {', '.join(models)} at {' + '.join(together)}")
        done = extract(
            ExtractRequest(
                dataset=split.dataset,
                models=models,
                scales=together,
                store=path,
                limit=split.limit,
                arithmetic=profile.arithmetic,
                device=profile.device,
                workers=profile.workers,
                shard_images=profile.shard_images,
            ),
            say=say,
        )
        if done.interrupted or done.busy:
            raise InputError(f"stopped at {path}; the same command goes on from here")
        extended |= done.shards > 0
    return extended
