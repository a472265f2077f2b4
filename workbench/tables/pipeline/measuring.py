"""One number after the other: what decides it, and a stored result of that or a new one."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import feature_store
from analyses.moments import on_disk
from feature_store import FeatureStore, Source
from workbench import code_hash, models
from workbench.cost.timing import describe_device
from workbench.datasets import Dataset
from workbench.extraction.local import pick_device
from workbench.results import strict_json
from workbench.tables.pipeline import decoders
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.pipeline.existing_stores import Listing
from workbench.tables.pipeline.extract_missing import Log
from workbench.tables.pipeline.plan import Measurement
from workbench.tables.pipeline.profile import Profile
from workbench.tables.records import content, provenance
from workbench.tables.records.measurement import Context, Measured, StoredMeasurement
from workbench.tables.render import view


def measure(
    measurement: Measurement, profile: Profile, out: Path, log: Log, listing: Listing
) -> tuple[StoredMeasurement, bool]:
    """A stored result of the same fingerprint, with its stores where they lie now; or a new one.

    Also whether it is new.
    """
    asked = _asked(measurement, profile, out, listing)
    stored = content.load_measured(out / "measured", asked.mark, measurement.sources)
    if stored is not None:
        return _where_now(stored, asked.described, out), False
    log(f"{measurement.analysis}: {', '.join(map(view.short, measurement.sources))[:90]}")
    start = time.perf_counter()
    found = _found(measurement, profile, out, asked)
    made = {
        "analysis": measurement.analysis,
        "config": {
            "options": dict(measurement.options),
            "sources": list(measurement.sources),
            "resolved": found.config,
        },
        "data": measurement.data,
        "device": asked.device,
        "machine": asked.call.get("machine", {}),
        "stores": asked.described,
        "code": provenance.stamp(),
        "date": provenance.now(),
        "seconds": round(time.perf_counter() - start, 2),
    }
    content.save_measured(
        out / "measured", StoredMeasurement(asked.mark, found, strict_json.jsonable(made))
    )
    # Read as every later run will see it.
    stored = content.load_measured(out / "measured", asked.mark, measurement.sources)
    assert stored is not None
    return stored, True


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A call of an analysis, and what decides its result."""

    device: str
    stores: Mapping[str, FeatureStore]
    images: Mapping[str, Dataset]
    described: dict[str, Any]
    """Role to the provenance of its store or images."""
    call: dict[str, Any]

    @property
    def mark(self) -> str:
        """Its fingerprint."""
        return provenance.fingerprint(self.call, self.described)


def _asked(measurement: Measurement, profile: Profile, out: Path, listing: Listing) -> _Asked:
    """What is measured; stores and datasets are opened."""
    roles = profile.data[measurement.data] if measurement.data else {}
    device, kind = pick_device(profile.device), ANALYSES[measurement.analysis]
    call = asdict(measurement)
    stores, images = {}, {}
    if kind.images:
        images = {r: listing(split.dataset).take(split.limit) for r, split in roles.items()}
        described = _of_images(measurement, profile, images)
        asked = profile.decoder_iterations
        call["iterations"] = decoders.fewer(dict(measurement.options), asked)
    else:
        stores = {role: feature_store.open(profile.path(split)) for role, split in roles.items()}
        described = provenance.of_stores(stores, measurement.singles(), kind.maps)
    for store in described.values():
        store["path"] = provenance.kept_path(store["path"], out)
    if not measurement.data:
        call["machine"] = _machine(device) if kind.timed else {}
    return _Asked(device=device, stores=stores, images=images, described=described, call=call)


def _found(measurement: Measurement, profile: Profile, out: Path, asked: _Asked) -> Measured:
    """The result of an analysis."""
    context = Context(
        stores=asked.stores, device=asked.device,
        moments=_moments(measurement, profile, asked.described),
        images=asked.images, folder=out / "decoders" / asked.mark, arithmetic=profile.arithmetic,
        workers=profile.workers, iterations=asked.call.get("iterations"),
    )  # fmt: skip
    found = ANALYSES[measurement.analysis].run(
        context, measurement.sources, dict(measurement.options)
    )
    if path := found.config.get("moments"):
        found = replace(found, config=found.config | {"moments": provenance.kept_path(path, out)})
    return found


def _of_images(
    measurement: Measurement, profile: Profile, images: dict[str, Dataset]
) -> dict[str, Any]:
    """The datasets of a decoder, with the weights and settings behind the features of crops."""
    settings = {
        "arithmetic": profile.arithmetic,
        "libraries": code_hash.library_versions(),
        "code": code_hash.parts_sha256(code_hash.DECODERS),
    }
    weights = {name: _weights(Source.parse(name).model) for name in measurement.sources}
    kind = ANALYSES[measurement.analysis]
    return provenance.of_images(images, kind.maps, weights, settings)


@functools.cache
def _weights(model: str) -> str:
    """Hash of a model's weights, which are read once for all decoders on it."""
    return models.load(model).weights_sha256


def _where_now(
    stored: StoredMeasurement, described: dict[str, Any], out: Path
) -> StoredMeasurement:
    """A stored result with its stores as they are described now: only their paths can differ."""
    made = stored.provenance
    now = strict_json.jsonable(described)
    if made["stores"] == now:
        return stored
    moved = stored._replace(provenance=made | {"stores": now})
    content.save_measured(out / "measured", moved)
    return moved


def _moments(measurement: Measurement, profile: Profile, stores: dict[str, Any]) -> str | None:
    """Path of the training moments of a reconstruction; beside local stores only."""
    if not ANALYSES[measurement.analysis].moments or "://" in profile.stores:
        return None
    # Named after all that decides them: grown or other images never meet moments of the former.
    train = {k: v for k, v in stores["train"].items() if k != "path"}
    decides = [train, dict(measurement.options), on_disk.FORMAT]
    mark = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
    folder = Path(profile.stores)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / f"moments_{measurement.data}_{mark.hexdigest()[:10]}.zarr")


def _machine(device: str) -> dict[str, Any]:
    """Facts that decide a speed besides the model: device, libraries, code that runs and times."""
    return {
        "device": describe_device(torch.device(device)),
        "libraries": code_hash.model_library_versions(),
        "code_sha256": code_hash.timing_sha256(),
    }
