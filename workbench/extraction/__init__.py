"""Frozen models turn images into stored per-token features, shard by shard."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workbench.extraction.request import ExtractReport, ExtractRequest

__all__ = ["ExtractReport", "ExtractRequest", "extract"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that options are known without it."""
    if name != "extract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("workbench.extraction.local").extract
