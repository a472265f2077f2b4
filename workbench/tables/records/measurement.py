"""Inputs and results of an analysis, as tables see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from feature_store import FeatureStore
from workbench.datasets import Dataset
from workbench.models.info import Arithmetic

Value = tuple[float, float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class Context:
    """Inputs of an analysis."""

    stores: Mapping[str, FeatureStore]
    """Role → store."""
    device: str
    """Torch device of the analysis."""
    moments: str | None = None
    """Path of training moments."""
    images: Mapping[str, Dataset] = field(default_factory=dict)
    """Role → images, for an analysis that reads them instead of stores."""
    folder: Path | None = None
    """Folder of the runs of such an analysis."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of forward passes."""
    workers: int = 0
    """Decoding processes."""
    iterations: int | None = None
    """Steps of a decoder, if fewer than published."""


@dataclass(frozen=True)
class Measured:
    """Result of one call of an analysis."""

    values: dict[str, dict[str, Value]]
    """Source → field → value with its interval."""
    resampled: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Source → field → values on bootstrap resamples, the same for all sources; may be empty."""
    notes: tuple[str, ...] = ()
    """Warnings of the analysis."""
    detail: list[dict] = field(default_factory=list)
    """Records that a figure draws."""
    config: dict[str, Any] = field(default_factory=dict)
    """The analysis's own configuration with every default filled in; empty if it has none."""


class StoredMeasurement(NamedTuple):
    """A measurement and the fingerprint of everything that decides it."""

    fingerprint: str
    measured: Measured
    provenance: dict[str, Any]
