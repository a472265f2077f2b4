"""Lists the single-scale sources of a store and resolves names as a user writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from feature_store import protocol
from feature_store.documents import document_key, read_attributes
from feature_store.errors import StoreError
from feature_store.objects import Objects
from feature_store.source import Source

SMALLER_ONCE = {"bundled:efficientnet_lite1": 224, "bundled:efficientnet_lite2": 224}
"""Model name → native size that it had in stores written before it got its own; such a source is
listed as ``NAME:SIZE``, and :attr:`Source.stored_as` is the name in its path."""

KINDS = ("bundled", "timm", "open_clip")
"""Kinds of model names that a short name may stand for."""
_HUB = re.compile(r"^(hf[-_]hub:|https://huggingface\.co/)?(timm/)?")


def stored_sources(objects: Objects) -> list[Source]:
    """All single-scale sources, also damaged ones, sorted by name; reads no array."""
    groups = ["features"]
    for _ in ("model", "tap", "scale"):
        groups = [
            f"{group}/{name}"
            for group in groups
            for name in objects.names(group)
            if name != "zarr.json"
        ]
    return sorted((_named(objects, g) for g in groups if _is_source(objects, g)), key=str)


def _is_source(objects: Objects, group: str) -> bool:
    """Whether the group's document was written, which is the last step of a source's creation."""
    folder = f"{group}/tokens/{protocol.COMMITS}"
    return objects.exists(document_key(group)) or bool(objects.names(folder))


def _named(objects: Objects, group: str) -> Source:
    """The source of a group, under the name that stands for its model today."""
    source = Source.from_group(group)
    once = SMALLER_ONCE.get(source.model)
    if once is None:
        return source
    try:
        size = native_size(read_attributes(objects, group).get("manifest", {}))
    except StoreError:  # damaged, as a reader will find
        return source
    if size != once:
        return source
    return replace(source, model=f"{source.model}:{once}", stored_as=source.model)


def native_size(manifest: Mapping[str, Any]) -> int | None:
    """Native size of the model behind a manifest; None where the manifest does not tell.

    A base image is the smallest of its aspect ratio in native squares.
    """
    base = manifest.get("scale", {}).get("base")
    return math.gcd(*base) if base else None


def in_stored_words(
    wanted: Source, stored: list[Source], native: Callable[[Source], int | None]
) -> Source:
    """The source with its scales in pixels and its model as the store lists it, where it can.

    `native` is the native size of a stored source's model.
    """
    models, nearest = [wanted.model], wanted
    meant = {s.model for s in stored if _stands_for(wanted.model, s.model)}
    models += meant if len(meant) == 1 else ()
    if wanted.model in SMALLER_ONCE:
        models.append(f"{wanted.model}:{SMALLER_ONCE[wanted.model]}")
    for model in models:
        named = replace(wanted, model=model)
        same = [s for s in stored if s.model == model]
        if named.has_multiples:
            size = next(filter(None, map(native, same)), None)
            named = named if size is None else named.at_native(size)
        if set(named.scales) <= {s.scales[0] for s in same}:
            return named
        if model == wanted.model:
            nearest = named
    return nearest


def _stands_for(short: str, model: str) -> bool:
    """Whether a name without its kind or its tag, or as a hub spells it, may mean a stored model.

    >>> _stands_for("efficientnet_lite0", "bundled:efficientnet_lite0")
    True
    >>> _stands_for("timm/vit_base_patch16_224", "timm:vit_base_patch16_224.mae")
    True
    """
    kind, _, name = model.partition(":")
    if kind not in KINDS:  # a file, or random weights, which a short name never means
        return False
    known, _, rest = short.partition(":")
    bare = rest if known == kind else _HUB.sub("", short)
    return name == bare or name.startswith((f"{bare}.", f"{bare}_") if "/" in bare else f"{bare}.")


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
