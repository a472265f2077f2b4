"""Models, datasets, extraction, figures and commands; ``workbench.explore`` for notebooks."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Import the page of tokens on first use: it needs torch and Bokeh."""
    if name != "explore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("workbench.pictures.notebook").explore
