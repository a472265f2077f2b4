"""Which of a store's sources play which part: the small model, its S2, the larger models."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store import FeatureStore, InputError, Source
from workbench.cost import params


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The sources of the question "small model at several scales, or larger model?"."""

    small: str
    """The small model at its smallest stored scale."""
    s2: str
    """The same model at all its stored scales."""
    middle: str | None
    """The next to largest other model, the reference of ratios; None where there is one other."""
    large: str
    """The largest model at its smallest stored scale."""

    @property
    def all(self) -> list[str]:
        """Every source that there is, in the order of the fields."""
        return [name for name in (self.small, self.s2, self.middle, self.large) if name]


def parts(store: FeatureStore) -> Parts:
    """Find the parts among what is stored: by scales and by number of parameters.

    Small is the smallest model that is stored at several scales. Only scales that are pooled to
    the base grid (plain pixels, no ``.whole`` and the like) and each model's default tap, or else
    its first one, are looked at.

    Raises
    ------
    InputError
        No model at several scales, or no larger model; says what to extract.

    Examples
    --------
    >>> parts(feature_store.open("runs/demo/train.zarr")).s2           # doctest: +SKIP
    'bundled:efficientnet_lite0@224+448'
    """
    held = _models(store)
    sizes = {name: params(name.partition("#")[0]) for name in held}
    several = sorted((n for n in held if len(held[n]) > 1), key=sizes.__getitem__)
    if not several:
        raise _refusal(store, "no model at two or more scales", "--scales 224 448")
    small = several[0]
    larger = sorted((n for n in held if sizes[n] > sizes[small]), key=sizes.__getitem__)
    if not larger:
        raise _refusal(store, f"no model larger than {small}", "--model LARGER_MODEL --scales 224")
    first = {name: f"{name}@{scales[0]}" for name, scales in held.items()}
    return Parts(
        small=first[small],
        s2=f"{small}@{'+'.join(held[small])}",
        middle=first[larger[-2]] if len(larger) > 1 else None,
        large=first[larger[-1]],
    )


def _models(store: FeatureStore) -> dict[str, list[str]]:
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
