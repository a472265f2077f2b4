"""Frozen models by name: their properties (`resolve`), and models ready to run (`load`)."""

from __future__ import annotations

from feature_store.deferred import deferred
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

__getattr__ = deferred(__name__, _NEEDS_TORCH)
