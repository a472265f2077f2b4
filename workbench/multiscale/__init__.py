"""The multi-scale forward pass: interpolate, split into crops, run, merge, pool to the base grid.

Scales are named by their side in pixels; every model has a native side and a base grid there.
"""

from __future__ import annotations

from feature_store.deferred import deferred
from workbench.multiscale.planning import ScalePlan, plan_scale
from workbench.multiscale.scale import OPTIONS, Scale, base_size, resolve_scales

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
__all__ = ["OPTIONS", "Scale", "ScalePlan", "base_size", "plan_scale", "resolve_scales"]
__all__ += [*_NEEDS_TORCH]

__getattr__ = deferred(__name__, _NEEDS_TORCH)
