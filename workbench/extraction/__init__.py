"""Frozen models turn images into stored per-token features, shard by shard."""

from workbench.extraction.local import extract
from workbench.extraction.request import ExtractReport, ExtractRequest

__all__ = ["ExtractReport", "ExtractRequest", "extract"]
