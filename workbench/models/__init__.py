"""Frozen models by name: their properties (`resolve`), and models ready to run (`load`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workbench.models.info import BackboneInfo, Tokens
from workbench.models.names import ModelName
from workbench.models.transform import Transform

_NEEDS_TORCH = {
    "Backbone": "backbone",
    "grid_at": "registry",
    "load": "registry",
    "resolve": "registry",
}
__all__ = ["BackboneInfo", "ModelName", "Tokens", "Transform", *_NEEDS_TORCH]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that listing commands stays quick."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
