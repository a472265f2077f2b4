"""Which crops of the larger scales are needed: their value, and policies that choose them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from analyses.scale_selection.config import BUDGETS, POLICIES, SelectionConfig

_NEEDS_TORCH = {
    "DenseTask": "dense",
    "Layout": "layout",
    "ProbeTask": "classes",
    "ReconstructTask": "reconstruct",
    "compute": "selection",
}
__all__ = ["BUDGETS", "POLICIES", "SelectionConfig", *_NEEDS_TORCH]


def __getattr__(name: str) -> Any:
    """Import modules that need torch on first use, so that options load without it."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
