"""Regenerate tables: extract what is missing, measure what is new, write what changed."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import feature_store
from analyses import stored_moments
from feature_store import InputError
from workbench.tables import blocks, figures, formats, provenance, report, results
from workbench.tables.fill import Say, fill
from workbench.tables.held import lacking
from workbench.tables.measure import ANALYSES
from workbench.tables.measured import Context, Kept
from workbench.tables.plan import Measurement, Plan
from workbench.tables.profile import Profile, problems
from workbench.tables.spec import TableSpec

LAYOUT = 4
"""Raised when the written files change for the same content, so that they are written again."""


@dataclass
class Outcome:
    """What a run did."""

    extracted: list[str] = field(default_factory=list)
    """Stores that were written to."""
    measured: int = 0
    """Calls of analyses that ran; the others were kept."""
    written: list[str] = field(default_factory=list)
    """Tables whose files were written."""
    current: list[str] = field(default_factory=list)
    """Tables that were up to date."""
    tables: dict[str, dict] = field(default_factory=dict)
    """Key → content."""
    seconds: float = 0.0
    """Wall time."""


def run(plan: Plan, profile: Profile, out: Path, say: Say) -> Outcome:
    """Bring the tables of a plan up to date in a folder.

    Raises
    ------
    InputError
        A dataset that the config does not name rightly, a folder of another profile, or a table
        that would mix numbers of different features or code.
    """
    if trouble := problems(profile, plan.data):
        raise InputError("; ".join(trouble))
    start = time.perf_counter()
    _claim(out, profile.name)
    outcome = Outcome()
    needs = list(plan.needs(profile).values())
    found = [lacking(split, sources, profile) for split, sources in needs]  # all, before any work
    for (split, _), missing in zip(needs, found, strict=True):
        if fill(split, missing, profile, say):
            outcome.extracted.append(split.store)
    measured = {m: _measure(m, profile, out, outcome, say) for m in plan.measurements}
    for spec in plan.tables:
        outcome.tables[spec.key] = results.build(spec, plan, profile.name, measured)
    for spec in plan.tables:
        _write(spec, outcome, out, say)
    if outcome.written or not (out / "report.html").exists():
        write_overview(out, profile.name)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _claim(out: Path, profile: str) -> None:
    """Refuse a folder that holds tables of another profile, or what cannot be read as a table."""
    from workbench.tables.check import records

    index = out / "provenance.json"
    if index.exists():
        held = results.read_json(index)
        found = held.get("profile") if isinstance(held, dict) else None
        if found != profile:
            what = f"tables of the profile {found}" if found else "a provenance.json of other work"
            raise InputError(f"{out} holds {what}, this run is of {profile}; name another --out")
    records(out)  # the report reads them all, so a damaged one is named before hours of work
    out.mkdir(parents=True, exist_ok=True)


def _measure(
    measurement: Measurement, profile: Profile, out: Path, outcome: Outcome, say: Say
) -> Kept:
    """A kept result of the same fingerprint, or a new one."""
    roles = profile.data[measurement.data] if measurement.data else {}
    stores = {role: feature_store.open(profile.path(split)) for role, split in roles.items()}
    device = _device(profile.device)
    described = provenance.of_stores(stores, measurement.singles(), measurement.analysis)
    call = asdict(measurement)
    if not measurement.data:
        call["device"] = _describe(device) if measurement.analysis == "throughput" else ""
    mark = provenance.fingerprint(call, described)
    kept = results.load_measured(out / "measured", mark)
    if kept is not None:
        return kept
    say(f"{measurement.analysis}: {', '.join(map(formats.short, measurement.sources))[:90]}")
    start = time.perf_counter()
    context = Context(
        stores=stores, device=device, moments=_moments(measurement, profile, described)
    )
    found = ANALYSES[measurement.analysis].run(
        context, measurement.sources, dict(measurement.options)
    )
    made = {
        "analysis": measurement.analysis,
        "config": {"options": dict(measurement.options), "sources": list(measurement.sources)},
        "data": measurement.data,
        "device": device,
        "stores": described,
        "code": provenance.stamp(),
        "date": provenance.now(),
        "seconds": round(time.perf_counter() - start, 2),
    }
    outcome.measured += 1
    results.save_measured(out / "measured", (mark, found, results.clean(made)))
    kept = results.load_measured(out / "measured", mark)  # as every later run will see it
    assert kept is not None
    return kept


def _moments(measurement: Measurement, profile: Profile, stores: dict[str, Any]) -> str | None:
    """Where the training moments of a reconstruction are kept; beside local stores only."""
    if measurement.analysis != "reconstruct" or "://" in profile.stores:
        return None
    # Named after all that decides them: grown or other images never meet moments of the former.
    train = {k: v for k, v in stores["train"].items() if k != "path"}
    decides = [train, dict(measurement.options), stored_moments.FORMAT]
    mark = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
    folder = Path(profile.stores)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / f"moments_{measurement.data}_{mark.hexdigest()[:10]}.zarr")


def _device(name: str) -> str:
    from workbench.extraction.local import pick_device

    return pick_device(name)


def _describe(device: str) -> str:
    import torch

    from workbench.cost.timing import describe_device

    return describe_device(torch.device(device))


def stem(out: Path, key: str) -> Path:
    """File name of a table without suffix: table05, figure02, sovit_table02."""
    digits = "".join(c for c in key if c.isdigit())
    name = key.removesuffix(digits).replace("-", "_")
    kind = {"": "table", "figure": "figure"}.get(name, f"{name}_table" if digits else name)
    return out / f"{kind}{int(digits):02d}" if digits else out / kind


def _write(spec: TableSpec, outcome: Outcome, out: Path, say: Say) -> None:
    """Write a table's files unless they are of the same content already."""
    table, path = outcome.tables[spec.key], stem(out, spec.key)
    record = path.with_suffix(".json")
    uses = {key: _content(outcome.tables[key]) for key in spec.uses}
    digest = hashlib.sha256(
        json.dumps([LAYOUT, _content(table), uses, spec.blocks], sort_keys=True).encode()
    ).hexdigest()
    if record.exists():
        before = results.read_json(record)
        if before["digest"] == digest and all((out / name).exists() for name in before["files"]):
            outcome.current.append(spec.key)
            return
    say(f"write {path.name}")
    found = [blocks.block(name) for name in spec.blocks]
    drawn = figures.draw(spec, outcome.tables, path)
    files = [*formats.write(table, found, path), *drawn]
    table |= {
        "blocks": found,
        "pictures": [p.name for p in drawn if p.suffix in (".png", ".svg")],
        "files": sorted({p.name for p in files}),
        "code": provenance.stamp(),
        "date": provenance.now(),
        "digest": digest,
    }
    results.write_json(table, record)
    outcome.written.append(spec.key)


def _content(table: dict) -> dict:
    """What a table says, without when it was said."""
    volatile = ("code", "date", "seconds")
    plain = {k: v for k, v in table.items() if k != "measurements"}
    marks = {
        mark: {k: v for k, v in made.items() if k not in volatile}
        for mark, made in table["measurements"].items()
    }
    return {**plain, "measurements": marks}


def write_overview(out: Path, profile: str) -> None:
    """provenance.json and report.html over every table in the folder."""
    from workbench.tables.check import check, records

    tables = records(out)
    results.write_json(
        {
            "profile": profile,
            "date": provenance.now(),
            "code": provenance.stamp(),
            "tables": {
                key: {
                    "file": f"{stem(out, key).name}.json",
                    "digest": table["digest"],
                    "date": table["date"],
                    "stores": _stores(table),
                }
                for key, table in tables.items()
            },
        },
        out / "provenance.json",
    )
    findings = {finding["table"]: finding for finding in check(out)}
    report.write(tables, findings, out, profile)


def _stores(table: dict) -> dict[str, dict[str, str]]:
    """Store path → source → identity, over all measurements of a table."""
    found: dict[str, dict[str, str]] = {}
    for made in table["measurements"].values():
        for store in made["stores"].values():
            found.setdefault(store["path"], {}).update(store["sources"])
    return found
