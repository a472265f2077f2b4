"""The multi-scale forward pass: interpolate, split into crops, run, merge, pool to the base grid.

Scales are named by their side in pixels; every model has a native side and a base grid there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workbench.multiscale.planning import ScalePlan, plan_scale
from workbench.multiscale.scale import OPTIONS, Scale, base_size, resolve_scales

__all__ = [
    "OPTIONS",
    "S2",
    "CropLimit",
    "Scale",
    "ScalePlan",
    "base_size",
    "features",
    "interpolate",
    "merge",
    "plan_scale",
    "pool",
    "resolve_scales",
    "s2_features",
    "scale_features",
    "split",
]


_NEEDS_TORCH = {
    "S2": "module",
    "CropLimit": "memory",
    "features": "forward",
    "interpolate": "arrange",
    "merge": "arrange",
    "pool": "arrange",
    "s2_features": "forward",
    "scale_features": "forward",
    "split": "arrange",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that reading scales stays quick."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
