"""Which scale carries the information: the subsets of scales to fit, and what their bits tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Subset = tuple[str, ...]


def subsets(singles: Sequence[str]) -> list[Subset]:
    """Sets of single-scale sources that :func:`unique_and_shared` needs: each, all but each, all.

    >>> subsets(["m@1", "m@2"])
    [('m@1',), ('m@2',), ('m@1', 'm@2')]
    """
    found = {(s,) for s in singles} | {tuple(singles)}
    found |= {tuple(s for s in singles if s != one) for one in singles} - {()}
    return sorted(found, key=lambda subset: (len(subset), [singles.index(s) for s in subset]))


def unique_and_shared(
    bits: Mapping[Subset, float], singles: Sequence[str]
) -> dict[str, np.ndarray | float]:
    """Split the bits of a set of scales.

    Returns
    -------
    dict
        ``alone`` (scale): bits of each scale by itself. ``unique`` (scale): bits lost when the
        scale is left out of the set. ``together``: bits of all. ``shared``: together minus the sum
        of the unique parts, what more than one scale could provide; negative where scales only
        help jointly.

    Source: answers the S2 paper's future work on scale-selective processing (section 6), as a
    commonality analysis (Mood 1969) in bits.
    """
    together = bits[tuple(singles)]
    alone = np.array([bits[(s,)] for s in singles])
    without = [bits.get(tuple(o for o in singles if o != s), 0.0) for s in singles]
    unique = together - np.array(without)
    return {
        "alone": alone,
        "unique": unique,
        "together": together,
        "shared": float(together - unique.sum()),
    }
