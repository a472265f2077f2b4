"""Measurements that selected tables need, the stores behind them, and their cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from feature_store import Source
from feature_store.errors import InputError
from workbench.cost import cost
from workbench.cost.hours import gpu_hours
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.pipeline.profile import DataSplit, Profile
from workbench.tables.specs.schema import Quantity, TableSpec


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One call of an analysis: what is cached, and what provenance is about."""

    analysis: str
    """Name in :data:`workbench.tables.pipeline.analyses.ANALYSES`."""
    data: str
    """Data key of the profile."""
    options: tuple[tuple[str, Any], ...]
    """Settings of the analysis."""
    sources: tuple[str, ...]
    """Sources, or what the analysis calls its rows."""

    def singles(self) -> list[Source]:
        """Single-scale sources that have to be stored."""
        if not self.data or ANALYSES[self.analysis].images:
            return []
        named = [name for source in self.sources for name in source.split()]
        named += [value for key, value in self.options if key in ("target", "reference")]
        parts = (single for name in named for single in Source.parse(name).singles())
        return list(dict.fromkeys(parts))


@dataclass(frozen=True)
class MeasurementPlan:
    """Measurements that a selection of tables needs under a profile."""

    tables: list[TableSpec]
    measurements: list[Measurement]
    of: dict[Quantity, Measurement]
    """Quantities of data that the config does not name are absent."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Data key → why its columns stay empty."""

    @property
    def data(self) -> list[str]:
        """Data keys that are needed."""
        return list(dict.fromkeys(m.data for m in self.measurements if m.data))

    def timed(self) -> list[str]:
        """Sources whose models are run for their speed; nothing of them is stored."""
        found = [m.sources for m in self.measurements if ANALYSES[m.analysis].timed]
        return list(dict.fromkeys(source for sources in found for source in sources))

    def needs(self, profile: Profile) -> dict[str, tuple[DataSplit, list[Source]]]:
        """Store name → its images and the single-scale sources that it must hold."""
        found: dict[str, tuple[DataSplit, list[Source]]] = {}
        for measurement in (m for m in self.measurements if m.singles()):
            for split in profile.data[measurement.data].values():
                _, sources = found.setdefault(split.store, (split, []))
                sources += [s for s in measurement.singles() if s not in sources]
        return found


def make(tables: list[TableSpec], profile: Profile) -> MeasurementPlan:
    """Group every number of the tables into calls of analyses.

    Raises
    ------
    InputError
        A table names an analysis or data key that does not exist.
    """
    quantities: list[Quantity] = []
    skipped: dict[str, str] = {}
    for table in tables:
        for quantity in table.quantities(profile.name):
            _check(quantity, table, profile)
            if profile.has(quantity.data) or quantity.data not in profile.optional:
                quantities.append(quantity)
            else:
                skipped[quantity.data] = f"datasets.{quantity.data} is not set"
    quantities = list(dict.fromkeys(quantities))
    of: dict[Quantity, Measurement] = {}
    for quantity in quantities:
        together = quantities if ANALYSES[quantity.analysis].joint else [quantity]
        sources = dict.fromkeys(a.source for a in together if _call(a) == _call(quantity))
        analysis, data, options = _call(quantity)
        of[quantity] = Measurement(
            analysis=analysis, data=data, options=options, sources=tuple(sources)
        )
    return MeasurementPlan(tables, list(dict.fromkeys(of.values())), of, skipped)


def _call(quantity: Quantity) -> tuple:
    return quantity.analysis, quantity.data, quantity.options


def _check(quantity: Quantity, table: TableSpec, profile: Profile) -> None:
    if quantity.analysis not in ANALYSES:
        raise InputError(
            f"table {table.key}: no analysis {quantity.analysis!r}; there are: "
            f"{', '.join(ANALYSES)}"
        )
    if quantity.data and quantity.data not in profile.data:
        raise InputError(
            f"table {table.key}: profile {profile.name} has no data {quantity.data!r}; there are: "
            f"{', '.join(profile.data)}"
        )


def estimate(needs: Iterable[tuple[DataSplit, list[Source]]], profile: Profile) -> list[dict]:
    """One record per single-scale source of each store: cost per image and in all.

    Every model is built on the meta device; nothing is downloaded or run. GPU hours are
    2 × GMACs × images over the profile's sustained TFLOP/s. Where the number of images is unknown,
    ``images``, ``bytes`` and ``gpu_hours`` are None.
    """
    rows = []
    for split, sources in needs:
        for source in sources:
            found = cost(source.model, source.scales, tap=source.tap)
            hours = gpu_hours(found.gmacs, profile.tflops)
            images = split.expected
            rows.append(
                {
                    "store": profile.path(split),
                    "dataset": split.dataset or f"({split.key})",
                    "source": str(source),
                    "images": images,
                    "gmacs_per_image": found.gmacs,
                    "bytes_per_image": found.bytes_per_image,
                    "gpu_hours_per_1000": 1000 * hours,
                    "bytes": None if images is None else found.bytes_per_image * images,
                    "gpu_hours": None if images is None else hours * images,
                }
            )
    return rows
