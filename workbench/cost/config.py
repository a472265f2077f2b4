"""Configs of throughput and latency measurements; this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.errors import require_at_least
from workbench.models.info import Arithmetic


@dataclass(frozen=True, kw_only=True)
class ThroughputConfig:
    """How throughput is measured."""

    device: str = "cpu"
    """Where the model runs."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    batch: int = 8
    """Images per pass."""
    max_crops: int | None = None
    """Crops per forward pass; by default those of an extraction on this device."""
    warmup: int = 2
    """Passes before the clock starts."""
    repeats: int = 7
    """Timed passes."""

    def __post_init__(self) -> None:
        require_at_least(self, batch=1, max_crops=1, repeats=1, warmup=0)


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """How latency is measured."""

    device: str = "cpu"
    """Where the model runs."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    crop_processes: int = 2
    """With --latency: processes that share one image's crops, each with one thread on a CPU."""
    warmup: int = 2
    """Passes before the clock starts."""
    repeats: int = 7
    """Timed passes."""

    def __post_init__(self) -> None:
        require_at_least(self, crop_processes=1, repeats=1, warmup=0)
