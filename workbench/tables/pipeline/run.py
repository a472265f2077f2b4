"""Regenerate tables: extract what is missing, measure what is new, write what changed."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path

from feature_store import InputError
from workbench import datasets
from workbench.extraction.local import pick_device
from workbench.results import strict_json
from workbench.tables.pipeline import config, existing_stores, measuring
from workbench.tables.pipeline.extract_missing import Log, extract_missing
from workbench.tables.pipeline.plan import Measurement, MeasurementPlan
from workbench.tables.pipeline.profile import Profile
from workbench.tables.records import check, content
from workbench.tables.records.measurement import StoredMeasurement
from workbench.tables.render import write
from workbench.tables.specs.schema import TableSpec


@dataclass
class TablesRun:
    """Result of a run."""

    extracted: list[str] = field(default_factory=list)
    """Stores that were written to."""
    measured: int = 0
    """Calls of analyses that ran; the others were stored already."""
    written: list[str] = field(default_factory=list)
    """Tables whose files were written."""
    current: list[str] = field(default_factory=list)
    """Tables that were up to date."""
    failed: dict[str, str] = field(default_factory=dict)
    """Table → why it could not be measured or put together; its files are as they were."""
    tables: dict[str, dict] = field(default_factory=dict)
    """Key → record, as it lies in the folder."""
    renewed: bool = False
    """Whether report.html and provenance.json were written."""
    seconds: float = 0.0
    """Wall time."""


def run(plan: MeasurementPlan, profile: Profile, out: Path, log: Log) -> TablesRun:
    """Bring the tables of a plan up to date in a folder, each as soon as it is measured.

    A table that cannot be measured keeps no other from being written: ``failed`` says why.

    Raises
    ------
    InputError
        A dataset that the config does not name rightly, a folder of another profile, images that
        cannot be extracted, or a table that would mix stored features with those of other code.
    """
    if found := config.problems(profile, plan.data):
        raise InputError("; ".join(found.values()))
    start = time.perf_counter()
    if plan.measurements:
        pick_device(profile.device)  # before any work, and once for all of them
    _claim(out, profile.name)
    outcome = TablesRun()
    needs = list(plan.needs(profile).values())
    listing = functools.cache(datasets.open)
    # Every store is looked at before any work.
    lacking = [existing_stores.missing_sources(*need, profile, listing) for need in needs]
    stores = [split.store for split, _ in needs]
    existing_stores.refuse_mixing(plan, profile, dict(zip(stores, lacking, strict=True)))
    for (split, _), missing in zip(needs, lacking, strict=True):
        if extract_missing(split, missing, profile, log):
            outcome.extracted.append(split.store)
    _Tables(plan, profile, out, outcome, log, listing).make()
    outcome.renewed = write.renew_overview(out, profile.name)
    outcome.seconds = time.perf_counter() - start
    return outcome


@dataclass
class _Tables:
    """Tables in the making: what is measured, and what tables contain so far."""

    plan: MeasurementPlan
    profile: Profile
    out: Path
    outcome: TablesRun
    log: Log
    listing: existing_stores.Listing
    measured: dict[Measurement, StoredMeasurement] = field(default_factory=dict)
    refused: dict[Measurement, str] = field(default_factory=dict)
    contents: dict[str, dict] = field(default_factory=dict)

    def make(self) -> None:
        """Measure and write one table after the other, tables that figures draw first."""
        declared = {spec.key: spec for spec in self.plan.tables}
        order: dict[str, TableSpec] = {}

        def append(spec: TableSpec) -> None:
            for used in spec.uses:
                append(declared[used])
            order[spec.key] = spec

        for spec in self.plan.tables:
            append(spec)
        for spec in order.values():
            if why := self._cannot(spec):
                self.outcome.failed[spec.key] = why
        made = self.outcome.tables
        self.outcome.tables = {key: made[key] for key in declared if key in made}

    def _cannot(self, spec: TableSpec) -> str:
        """Why a table cannot be made; empty once it lies in the folder."""
        if absent := [used for used in spec.uses if used in self.outcome.failed]:
            return f"it draws table {absent[0]}, which cannot be made"
        of, quantities = self.plan.of, spec.quantities(self.profile.name)
        needed = dict.fromkeys(of[quantity] for quantity in quantities if quantity in of)
        for measurement in needed:
            self._measure(measurement)
        if reasons := [self.refused[m] for m in needed if m in self.refused]:
            return "; ".join(dict.fromkeys(reasons))
        try:
            self.contents[spec.key] = content.build(spec, self.plan, self.profile, self.measured)
        except InputError as error:
            return str(error)
        self._write(spec)
        return ""

    def _measure(self, measurement: Measurement) -> None:
        if measurement in self.measured or measurement in self.refused:
            return
        try:
            found, is_new = measuring.measure(
                measurement, self.profile, self.out, self.log, self.listing
            )
        except InputError as error:
            self.refused[measurement] = str(error)
        else:
            self.measured[measurement] = found
            self.outcome.measured += is_new

    def _write(self, spec: TableSpec) -> None:
        made = [table for table in self.plan.tables if table.key in self.contents]
        marks = write.digests(made, self.contents)
        record = write.current(spec, marks[spec.key], self.out)
        if record is None:
            self.log(f"write {content.stem(self.out, spec.key).name}")
            record = write.write(spec, self.contents, marks, self.out)
            self.outcome.written.append(spec.key)
        else:
            self.outcome.current.append(spec.key)
        self.outcome.tables[spec.key] = record


def _claim(out: Path, profile: str) -> None:
    """Refuse a folder that holds tables of another profile, or what cannot be read as a table."""
    index = out / "provenance.json"
    if index.exists():
        stored = strict_json.read(index)
        found = stored.get("profile") if isinstance(stored, dict) else None
        if found != profile:
            what = f"tables of the profile {found}" if found else "a provenance.json of other work"
            raise InputError(f"{out} holds {what}, this run is of {profile}; name another --out")
    # The report reads them all, so a damaged one is named before hours of work.
    for key, table in check.records(out).items():
        if table.get("profile") != profile:
            raise InputError(
                f"{out} holds table {key} of the profile {table.get('profile')}, this run is of "
                f"{profile}; name another --out"
            )
    out.mkdir(parents=True, exist_ok=True)
