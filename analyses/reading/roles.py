"""Roles in the question "small model at several scales, or larger model?"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_store import InputError, Source


@dataclass(frozen=True)
class Roles:
    """Which source is which."""

    small: str
    """The small model at one scale."""
    s2: str
    """The small model at several scales."""
    large: str
    """The larger model at one scale."""
    others: tuple[str, ...] = ()
    """Further sources to compare, from small to large."""

    @property
    def middle(self) -> str | None:
        """The last of the others, a reference for ratios; None without any."""
        return self.others[-1] if self.others else None

    @property
    def all(self) -> list[str]:
        """Every source, the large one last."""
        return [self.small, self.s2, *self.others, self.large]

    @classmethod
    def of(cls, sources: Sequence[str]) -> Roles:
        """Find the roles in any list of sources.

        S2 is the source with the most scales (the first of them); small is its model at the first
        of them, or else the first source of its model at one scale; large is the last source of
        another model at one scale, so that models are named from small to large.

        Raises
        ------
        InputError
            One of the three is missing, or a source is named twice.

        Examples
        --------
        >>> Roles.of(["m:base@224", "m:base@224+448", "m:big@224", "m:huge@224"])
        Roles(small='m:base@224', s2='m:base@224+448', large='m:huge@224', others=('m:big@224',))
        """
        parsed = {name: Source.parse(name) for name in sources}
        if len(parsed) < len(sources):
            raise InputError(f"a source is named twice among {', '.join(sources)}")
        single = [n for n, s in parsed.items() if len(s.scales) == 1]
        several = [n for n, s in parsed.items() if len(s.scales) > 1]
        if several:
            s2 = max(several, key=lambda name: len(parsed[name].scales))
            same = [n for n in single if parsed[n].model == parsed[s2].model]
            other = [n for n in single if parsed[n].model != parsed[s2].model]
            if same and other:
                first = [n for n in same if parsed[n].scales == parsed[s2].scales[:1]]
                chosen = (first or same)[0], s2, other[-1]
                return cls(*chosen, tuple(n for n in parsed if n not in chosen))
        raise InputError(
            f"found the sources {', '.join(sources) or '(none)'}; hard examples need at least "
            "three: a small model at one scale, the same at several (MODEL@1x+2x), and a "
            "larger model at one scale"
        )
