"""Frozen models by name: what they are (`resolve`), and ready to run (`load`)."""

from __future__ import annotations

from workbench.models.info import BackboneInfo, Tokens, Transform
from workbench.models.names import ModelName

__all__ = ["Backbone", "BackboneInfo", "ModelName", "Tokens", "Transform", "load", "resolve"]


def __getattr__(name: str):
    """Import what needs torch on first use, so that listing commands stays quick."""
    if name in ("Backbone", "load", "resolve"):
        from workbench.models import backbone, registry

        return backbone.Backbone if name == "Backbone" else getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
