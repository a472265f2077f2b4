"""Rates and their differences in words, the same in every command."""

from __future__ import annotations

from collections.abc import Mapping


def rate(value: float, low: float, high: float) -> str:
    """A share with its interval, all from 0 to 1, in per cent.

    >>> rate(0.6, 0.387, 0.781)
    '60.0 % (38.7 to 78.1)'
    """
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def rate_difference(found: Mapping[str, float]) -> str:
    """A paired difference of two shares in points, with its interval and p.

    Parameters
    ----------
    found : mapping
        ``difference``, ``low``, ``high`` (from -1 to 1) and McNemar's ``p``.

    Examples
    --------
    >>> rate_difference({"difference": 0.05, "low": -0.03, "high": 0.13, "p": 0.22})
    '+5.0 points (-3.0 to +13.0), McNemar p 0.22'
    """
    value, low, high = (100 * found[name] for name in ("difference", "low", "high"))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f}), McNemar p {found['p']:.2g}"
