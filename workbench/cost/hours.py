"""GPU hours from multiply-accumulates, at an assumed rate."""

from __future__ import annotations

TFLOPS = 200.0
"""Sustained TFLOP/s assumed, not measured: a fifth of an H100's dense bf16 peak."""


def gpu_hours(gmacs: float, tflops: float = TFLOPS) -> float:
    """Hours of one GPU for so many 1e9 multiply-accumulates: 2 x MACs / sustained FLOP/s.

    Examples
    --------
    >>> gpu_hours(360e6)  # 3.6e17 multiply-accumulates
    1.0
    """
    return 2e9 * gmacs / (tflops * 1e12) / 3600
