"""Roles of a store's sources: the small model, its S2, the larger models."""

from __future__ import annotations

from analyses.reading.roles import Roles
from feature_store import FeatureStore, InputError, Source
from feature_store.source import split_tap
from workbench.cost import params


def find(store: FeatureStore) -> Roles:
    """Roles of stored sources, by their scales and numbers of parameters.

    Small is the smallest model that is stored at several scales, and S2 is the same at all of them.
    Large is the largest model, and the next to largest, if it exists, is the only other; both at
    their smallest scale. Only scales that are pooled to the base grid (plain pixels, no ``.whole``
    and the like) count, and for each model its default tap, or else the first stored tap.

    Raises
    ------
    InputError
        No model at several scales, or no larger model; says what to extract.

    Examples
    --------
    >>> find(feature_store.open("runs/demo/train.zarr")).s2           # doctest: +SKIP
    'bundled:efficientnet_lite0@1x+2x'
    """
    scales = _scales(store)
    sizes = {name: params(split_tap(name)[0]) for name in scales}
    several = sorted((n for n in scales if len(scales[n]) > 1), key=sizes.__getitem__)
    if not several:
        raise _refusal(store, "no model at two or more scales", "--scales 1x 2x")
    small = several[0]
    larger = sorted((n for n in scales if sizes[n] > sizes[small]), key=sizes.__getitem__)
    if not larger:
        raise _refusal(store, f"no model larger than {small}", "--model LARGER_MODEL --scales 1x")
    first = {name: f"{name}@{found[0]}" for name, found in scales.items()}
    return Roles(
        small=first[small],
        s2=f"{small}@{'+'.join(scales[small])}",
        large=first[larger[-1]],
        others=tuple(first[name] for name in larger[-2:-1]),
    )


def _scales(store: FeatureStore) -> dict[str, list[str]]:
    """``MODEL``, or ``MODEL#TAP`` where the default tap is not stored, to its plain scales."""
    taps: dict[str, dict[str, list[str]]] = {}
    default: dict[str, str] = {}
    for source in map(Source.parse, store.sources()):
        if not source.scales[0].replace("x", "").isdigit():
            continue
        tap = str(source.tap)
        taps.setdefault(source.model, {}).setdefault(tap, []).append(source.scales[0])
        default[source.model] = store.source(source).manifest.get("default_tap", tap)
    return {
        model if default[model] in found else f"{model}#{min(found)}": sorted(
            found.get(default[model], found[min(found)]), key=_pixels
        )
        for model, found in taps.items()
    }


def _pixels(scale: str) -> int:
    height, _, width = scale.partition("x")
    return int(height) * int(width or height)


def _refusal(store: FeatureStore, found: str, options: str) -> InputError:
    stored = ", ".join(store.sources()) or "nothing"
    return InputError(
        f"{store.path} has {found} (stored: {stored}); add one with `workbench extract --dataset "
        f"{store.dataset} {options} --store {store.path}`"
    )
