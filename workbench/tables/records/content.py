"""Stored measurements, and a table's content as one dict: rows, comparisons, footnotes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from feature_store import InputError, Source
from workbench.cost import cost
from workbench.results import strict_json
from workbench.tables.pipeline import decoders
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.pipeline.plan import Measurement, MeasurementPlan
from workbench.tables.pipeline.profile import Profile
from workbench.tables.records import provenance
from workbench.tables.records.compare import compare
from workbench.tables.records.measurement import Measured, StoredMeasurement
from workbench.tables.specs.schema import NAMES, PAPERS, TableSpec

NOT_COMPARABLE = "n/c"
"""Text shown in place of a difference between unlike settings."""


def stem(out: Path, key: str) -> Path:
    """File name of a table without suffix: table05, figure02, sovit_table02."""
    digits = "".join(c for c in key if c.isdigit())
    name = key.removesuffix(digits).replace("-", "_")
    kind = {"": "table", "figure": "figure"}.get(name, f"{name}_table" if digits else name)
    return out / f"{kind}{int(digits):02d}" if digits else out / kind


def file_sha256(path: Path) -> str:
    """Hash of a written file, as its table's record keeps it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A table's record with the hash of all the rest of it."""
    rest = {name: value for name, value in record.items() if name != "record_sha256"}
    text = json.dumps(rest, sort_keys=True)
    return rest | {"record_sha256": hashlib.sha256(text.encode()).hexdigest()}


def differences(record: Mapping[str, Any], out: Path) -> list[str]:
    """How a table's files and record, as read from its folder, differ from what was written.

    In words; empty if they do not.
    """
    files = record["files"]
    if not isinstance(files, Mapping) or "record_sha256" not in record:
        return ["it was written by an older version; run again"]
    found = []
    for name, mark in files.items():
        if not (out / name).exists():
            found.append(f"{name} is gone")
        elif file_sha256(out / name) != mark:
            found.append(f"{name} was changed since it was written")
    if sealed(record) != record:
        found.append(f"{stem(out, record['key']).name}.json was changed since it was written")
    return found


def load_measured(folder: Path, mark: str, sources: Iterable[str] = ()) -> StoredMeasurement | None:
    """A stored measurement, or None; it has to hold values of these sources.

    Raises
    ------
    InputError
        Not JSON, or not a whole measurement; the message names the file.
    """
    path = folder / f"{mark}.json"
    if not path.exists():
        return None
    found = strict_json.read(path)
    try:
        values = {
            source: {name: (value, low, high) for name, (value, low, high) in fields.items()}
            for source, fields in found["values"].items()
        }
        if absent := [source for source in sources if source not in values]:
            raise KeyError(absent[0])
        parts = found["resampled"], tuple(found["notes"]), found["detail"], found["config"]
        made = {name: found["provenance"][name] for name in ("stores", "code", "date")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not a whole measurement ({type(error).__name__}: {error}); delete it and "
            f"run again"
        ) from error
    return StoredMeasurement(mark, Measured(values, *parts), {**found["provenance"], **made})


def save_measured(folder: Path, stored: StoredMeasurement) -> None:
    """Store a measurement under its fingerprint."""
    mark, measured, made = stored
    strict_json.write({**asdict(measured), "provenance": made}, folder / f"{mark}.json")


def build(
    spec: TableSpec,
    plan: MeasurementPlan,
    profile: Profile,
    measured: Mapping[Measurement, StoredMeasurement],
) -> dict:
    """A table's content from its declaration and what was measured.

    Raises
    ------
    InputError
        Its numbers come from stores or code that differ among each other.
    """
    used = {
        plan.of[quantity]: None for quantity in spec.quantities(profile.name) if quantity in plan.of
    }
    marks = {measured[m].fingerprint: measured[m].provenance for m in used}
    provenance.refuse_mixed(spec.key, marks)
    setup = spec.setups.get(profile.name)
    unlike = {m.data: unlike_paper(profile, m, measured[m].provenance["stores"]) for m in used}
    if not (setup and setup.comparable):
        unlike = {}
    rows = _rows(spec, plan, profile.name, measured, unlike)
    named = {m.data: profile.named(m.data) for m in used if profile.named(m.data)}
    notes = [note for m in used for note in measured[m].measured.notes]
    data = {quantity.data for quantity in spec.quantities(profile.name)}
    skipped = [why for name, why in plan.skipped.items() if name in data]
    return strict_json.jsonable(
        {
            "key": spec.key,
            "title": spec.title,
            "question": spec.question,
            "paper": PAPERS[spec.paper],
            "paper_name": NAMES[spec.paper],
            "reference": spec.reference,
            "profile": profile.name,
            "named": list(named.values()),
            "label": list(spec.label),
            "metrics": [asdict(metric) for metric in spec.metrics],
            "rows": rows,
            "comparisons": [
                found
                for comparison in spec.comparisons
                if (found := compare(comparison, spec, plan, profile.name, measured, rows))
            ],
            "footnotes": [
                *(setup.footnotes(named) if setup else ()),
                *dict.fromkeys(reason for reasons in unlike.values() for reason in reasons),
                *_images(marks),
                *dict.fromkeys(notes),
                *skipped,
            ],
            "comparable": bool(setup and setup.comparable and not any(unlike.values())),
            "missing": spec.missing,
            "expected": setup.expected if setup else "",
            "measurements": marks,
            "detail": [record for m in used for record in measured[m].measured.detail],
        }
    )


def unlike_paper(
    profile: Profile, measurement: Measurement, stores: Mapping[str, Any]
) -> list[str]:
    """Why numbers on these images may not be compared with the paper's, one line per split.

    `stores` maps a role to the provenance of its store, as
    :func:`workbench.tables.records.provenance.of_stores` does. Empty without data.
    """
    found, data = [], measurement.data
    if ANALYSES[measurement.analysis].images:
        why = decoders.shortened(dict(measurement.options), profile.decoder_iterations)
        found += [f"{NOT_COMPARABLE} on {data}: {why}."] if why else []
    for role, split in profile.data[data].items() if data else ():
        images = stores[role]["images"]
        if split.usual is not None and images != split.usual:
            limited = f", {split.key}_limit being {split.limit}" if split.limit else ""
            found.append(
                f"{NOT_COMPARABLE} on {data}: {split.key} gives {images:,} images, the paper's "
                f"split has {split.usual:,}{limited}."
            )
    return found


def _rows(
    spec: TableSpec,
    plan: MeasurementPlan,
    profile: str,
    measured: Mapping[Measurement, StoredMeasurement],
    unlike: Mapping[str, list[str]],
) -> list[dict]:
    setup = spec.setups.get(profile)
    printed = spec.printed(text=True)
    rows = []
    for label, (_, line) in zip(spec.labels(), printed.iterrows(), strict=True):
        cells, source = {}, ""
        for metric in spec.metrics:
            cell: dict[str, Any] = {"published": _number(line[metric.column])}
            if cell["published"] is not None:
                cell["printed"] = str(line[metric.column])
            quantity = setup.quantities.get(metric.column, {}).get(label) if setup else None
            if setup and quantity in plan.of:
                mark, found, _ = measured[plan.of[quantity]]
                value, low, high = found.values[quantity.source][quantity.field]
                cell |= {"value": value, "low": low, "high": high, "measurement": mark}
                cell |= {"source": quantity.source, "analysis": quantity.analysis}
                cell["data"] = quantity.data
                cell["comparable"] = setup.comparable and not unlike.get(quantity.data)
                both = isinstance(cell["published"], float) and value is not None
                if cell["comparable"] and both:
                    cell["difference"] = value - cell["published"]
                if quantity.data or ANALYSES[quantity.analysis].timed:
                    source = source or quantity.source
            cells[metric.column] = cell
        row: dict[str, Any] = {"label": list(label), "source": source, "cells": cells}
        row["note"] = setup.row_notes.get(label, "") if setup else ""
        row["published_gmacs"] = _number(line["flops_g"])
        rows.append(row | _cost(source))
    return rows


def _images(measurements: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Number of images behind the numbers, and their datasets."""
    stores = [store for made in measurements.values() for store in made["stores"].values()]
    counts = dict.fromkeys(f"{store['dataset']} ({store['images']})" for store in stores)
    return [f"Images: {', '.join(counts)}."] if counts else []


def _cost(source: str) -> dict[str, float]:
    """GMACs per image and parameters in millions of the source that stands in a row."""
    if not source or " " in source:
        return {}
    parsed = Source.parse(source)
    found = cost(parsed.model, parsed.scales, tap=parsed.tap)
    return {"gmacs": found.gmacs, "params_m": found.params / 1e6}


def _number(value: Any) -> float | str | None:
    """A published cell: a number, None where empty, or words such as OOM."""
    try:
        number = float(value)
    except ValueError:
        return str(value)
    return number if np.isfinite(number) else None
