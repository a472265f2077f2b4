"""What a source costs: parameters, multiply-accumulates, stored bytes, images per second."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Cost": "counting",
    "Macs": "counting",
    "cost": "counting",
    "macs": "counting",
    "params": "counting",
    "published_cost_columns": "published",
    "LatencyConfig": "config",
    "Throughput": "timing",
    "ThroughputConfig": "config",
    "latency": "one_image",
    "throughput": "timing",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import torch on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
