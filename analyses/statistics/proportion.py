"""Interval of a proportion such as an accuracy."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; well behaved at 0 and 1.

    Source: Wilson (1927), J. Am. Stat. Assoc. 22.

    Examples
    --------
    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    z = norm.ppf(0.5 + confidence / 2)
    p = hits / count
    centre = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)
