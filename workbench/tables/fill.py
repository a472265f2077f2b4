"""Extract what the stores behind tables lack, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import feature_store
from feature_store import FeatureStore, InputError, Source
from workbench.tables.profile import Profile, Split

Say = Callable[[str], None]


def fill(split: Split, sources: list[Source], profile: Profile, say: Say) -> bool:
    """Extract the sources that a store lacks; whether anything was computed."""
    path = f"{profile.stores}/{split.store}.zarr"
    by_scales: dict[tuple[str, ...], list[str]] = {}
    for model, scales in _missing(path, split, sources).items():
        by_scales.setdefault(tuple(scales), []).append(model)
    if not by_scales:
        return False
    from workbench.extraction import ExtractRequest, extract

    extended = False
    for together, models in by_scales.items():
        say(f"extract {split.dataset}: {', '.join(models)} at {' + '.join(together)}")
        done = extract(
            ExtractRequest(
                dataset=split.dataset,
                models=models,
                scales=together,
                store=path,
                limit=split.limit,
                precision=profile.precision,
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


def _missing(path: str, split: Split, sources: list[Source]) -> dict[str, list[str]]:
    """Model with tap → scales that the store lacks; all of them where the images are not all in."""
    stored: set[Source] = set()
    try:
        store = feature_store.open(path)
        if split.limit is None or len(store) == split.limit:
            stored = {source for source in sources if _complete(store, source)}
    except InputError:
        pass  # no store yet; a damaged one is named by the extraction
    wanted: dict[str, list[str]] = {}
    for source in sources:
        if source not in stored:
            model = f"{source.model}#{source.tap}" if source.tap else source.model
            wanted.setdefault(model, []).append(source.scales[0])
    return wanted


def _complete(store: FeatureStore, source: Source) -> bool:
    try:
        return not store.scale(source).missing()
    except InputError:
        return False
