"""Frozen models turn images into stored per-token features, shard by shard."""

from __future__ import annotations

from feature_store.deferred import deferred
from workbench.extraction.request import ExtractReport, ExtractRequest

_NEEDS_TORCH = {"extract": "local"}
__all__ = ["ExtractReport", "ExtractRequest", "extract"]

__getattr__ = deferred(__name__, _NEEDS_TORCH)
