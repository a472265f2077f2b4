"""How alike two representations are: CKA, CCA, Procrustes and shared nearest neighbours."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from analyses.similarity.config import SimilarityConfig

_NEEDS_TORCH = ("CALIBRATED", "GEOMETRY", "MEASURES", "NULLS", "compute")
__all__ = ["SimilarityConfig", *_NEEDS_TORCH]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that options are known without it."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("analyses.similarity.similarity"), name)
