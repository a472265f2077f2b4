"""Lists the single-scale sources of a store and resolves names without a tap."""

from __future__ import annotations

from collections.abc import Callable

from feature_store import protocol
from feature_store.documents import document_key
from feature_store.errors import StoreError
from feature_store.objects import Objects
from feature_store.source import Source


def stored_sources(objects: Objects) -> list[Source]:
    """All single-scale sources, also damaged ones, sorted by name; reads no attribute or array."""
    groups = (
        f"features/{model}/{tap}/{scale}"
        for model in objects.names("features")
        for tap in objects.names(f"features/{model}")
        for scale in objects.names(f"features/{model}/{tap}")
        if scale != "zarr.json"
    )
    return sorted((Source.from_group(g) for g in groups if _is_source(objects, g)), key=str)


def _is_source(objects: Objects, group: str) -> bool:
    """Whether the group's document was written, which is the last step of a source's creation."""
    folder = f"{group}/tokens/{protocol.COMMITS}"
    return objects.exists(document_key(group)) or bool(objects.names(folder))


def with_stored_tap(
    wanted: Source, stored: list[Source], is_default: Callable[[Source], bool]
) -> Source:
    """The source with its tap: the model's default one if stored, else the only one stored.

    Raises
    ------
    StoreError
        Several taps are stored and none of them is the default.
    """
    if wanted.tap is not None:
        return wanted
    taps = [s.tap for s in stored if s.model == wanted.model and s.scales == wanted.scales[:1]]
    defaults = [tap for tap in taps if tap and is_default(wanted.with_tap(tap).singles()[0])]
    candidates = defaults or taps
    if len(candidates) > 1:
        raise StoreError(
            f"{wanted} is stored at several taps ({', '.join(map(str, taps))}); name one, as in "
            f"{wanted.model}#{taps[0]}@..."
        )
    return wanted.with_tap(str(candidates[0])) if candidates else wanted
