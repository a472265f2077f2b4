"""How alike two representations are: CKA, CCA, Procrustes and shared nearest neighbours."""

from __future__ import annotations

from analyses.similarity.config import SimilarityConfig
from feature_store.deferred import deferred

_NEEDS_TORCH = dict.fromkeys(
    ("CALIBRATED", "GEOMETRY", "MEASURES", "NULLS", "compute"), "similarity"
)
__all__ = ["SimilarityConfig", *_NEEDS_TORCH]

__getattr__ = deferred(__name__, _NEEDS_TORCH)
