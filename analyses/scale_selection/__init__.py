"""Which crops of the larger scales are needed: their value, and policies that choose them."""

from __future__ import annotations

from analyses.scale_selection.config import BUDGETS, POLICIES, SelectionConfig
from feature_store.deferred import deferred

_NEEDS_TORCH = {
    "DenseTask": "dense",
    "Layout": "layout",
    "ProbeTask": "classes",
    "ReconstructTask": "reconstruct",
    "compute": "selection",
}
__all__ = ["BUDGETS", "POLICIES", "SelectionConfig", *_NEEDS_TORCH]

__getattr__ = deferred(__name__, _NEEDS_TORCH)
