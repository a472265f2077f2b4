"""The multi-scale forward pass: interpolate, split into crops, run, merge, pool to the base grid.

    image (3, s, s) → bicubic → (3, S, S) → crops (p·q, 3, n, n) → tokens (p·q, r, c, channel)
                    → merged map (p·r, q·c, channel) → area average → (r, c, channel)

Scales are named by their side in pixels; ``n`` is the model's native side, ``r x c`` its grid
there. **Source:** Shi et al. 2024, section 3.1 and appendix D.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workbench.multiscale.planning import Plan, plan
from workbench.multiscale.scale import OPTIONS, Scale, base_size, resolve_scales

__all__ = [
    "OPTIONS",
    "CropLimit",
    "Plan",
    "Scale",
    "base_size",
    "features",
    "interpolate",
    "merge",
    "plan",
    "pool",
    "resolve_scales",
    "scale_features",
    "split",
]


_NEEDS_TORCH = {
    "CropLimit": "forward",
    "features": "forward",
    "interpolate": "arrange",
    "merge": "arrange",
    "pool": "arrange",
    "scale_features": "forward",
    "split": "arrange",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that reading scales stays quick."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
