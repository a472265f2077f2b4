"""Estimated cost of a run: models, stores, GPU hours and bytes, without weights or pixels."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from analyses.reading.label_rule import compared_names
from analyses.reading.labels import match_labels
from analyses.reading.splits import refuse_shared_images
from feature_store import Source
from feature_store.dataset_name import base
from feature_store.errors import InputError
from workbench import datasets
from workbench.cost import cost
from workbench.tables.pipeline import config
from workbench.tables.pipeline import dry_run_decoders as decoders
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.pipeline.existing_stores import (
    Listing,
    Missing,
    is_missing,
    missing_sources,
    refuse_mixing,
)
from workbench.tables.pipeline.plan import MeasurementPlan, estimate
from workbench.tables.pipeline.profile import DataSplit, Profile
from workbench.tables.records import content
from workbench.vlm import paper


def dry_run(plan: MeasurementPlan, profile: Profile) -> dict[str, Any]:
    """Resolve everything that a plan names, and look at what is stored; nothing is written.

    Every model is built on the meta device and every source checked against it; datasets that the
    config names are listed and counted, without decoding an image; stores that exist already are
    compared with them; labels and images in both train and test are refused as analyses would. GPU
    hours are those of the forward passes of an extraction, nothing else.

    Returns
    -------
    dict
        ``sources`` (one record per single-scale source and store; ``stored`` says whether it is
        complete already, None where that is unknown), ``timed`` (one per source that is run for its
        speed), ``decoders`` (one per published decoder, trained on the fly, see
        :func:`workbench.heads.estimate.estimate`), ``trainings`` (multimodal ones, which the run
        leaves out, see :func:`workbench.vlm.paper.estimated`), ``totals`` (of the sources whose
        images can be counted; ``uncounted`` names the other datasets; ``gpu_hours_left`` and
        ``bytes_left`` leave out what is stored), ``tables``, ``not_comparable`` (why numbers on
        some images may not be compared with the paper's), ``skipped`` and ``problems`` (empty if
        the run can start).
    """
    listing = functools.cache(datasets.open)
    profile, unopened = counted(profile, plan.data, listing)
    wrong = config.problems(profile, plan.data)
    wrong |= {key: line for key, line in unopened.items() if key not in wrong}
    found = list(wrong.values())
    needs = list(plan.needs(profile).values())
    bad = set(wrong)
    existing, refused = _existing(needs, profile, bad, listing)
    if not refused:
        try:
            refuse_mixing(plan, profile, existing)
        except InputError as error:
            refused = [str(error)]
    found += refused
    found += _splits(plan, profile, bad, listing)
    rows = [
        row | {"stored": None if missing is None else not is_missing(missing, source)}
        for split, sources in needs
        for missing in [existing.get(split.store)]
        for source, row in zip(sources, estimate([(split, sources)], profile), strict=True)
    ]
    timed, trained = _timed(plan), decoders.rows(plan, profile)
    trainings = _trainings(plan, profile)
    return {
        "profile": profile.name,
        "assumed_tflops": profile.tflops,
        "tables": _tables(plan, profile),
        "sources": rows,
        "timed": timed,
        "decoders": trained,
        "trainings": trainings,
        "totals": _totals(rows, [*timed, *trained])
        | decoders.sums(trained, profile.tflops)
        | _sums(trainings),
        "not_comparable": _unlike(plan, profile),
        "skipped": list(plan.skipped.values()),
        "problems": list(dict.fromkeys(found)),
    }


def _tables(plan: MeasurementPlan, profile: Profile) -> list[dict[str, Any]]:
    found = []
    for table in plan.tables:
        quantities = table.quantities(profile.name)
        expected = table.setups[profile.name].expected if profile.name in table.setups else ""
        named = any(profile.named(quantity.data) for quantity in quantities)
        if expected and profile.name == "bundled" and named:
            expected += " (with the bundled images; the config names others)"
        found.append(
            {
                "table": table.key,
                "title": table.title,
                "numbers": len(quantities),
                "expected": expected,
                "missing": table.missing,
            }
        )
    return found


def _existing(
    needs: list[tuple[DataSplit, list[Source]]], profile: Profile, bad: set[str], listing: Listing
) -> tuple[dict[str, Missing], list[str]]:
    """Store name → what is missing there, where that can be known; and what is wrong elsewhere."""
    existing, refused = {}, []
    for split, sources in needs:
        if split.key in bad or split.on_hub:
            continue  # opening a hub's dataset may fetch it
        try:
            existing[split.store] = missing_sources(split, sources, profile, listing)
        except (InputError, OSError) as error:
            refused.append(str(error))
    return existing, refused


def _splits(plan: MeasurementPlan, profile: Profile, bad: set[str], listing: Listing) -> list[str]:
    """Reasons for analyses to refuse the images: no labels, or shared images in train and test."""
    found = []
    for data in plan.data:
        roles = profile.data[data]
        splits = [roles[role] for role in ("train", "test") if role in roles]
        if any(split.key in bad or split.on_hub for split in splits):
            continue  # reported already
        asked = [
            (table.key, ANALYSES[quantity.analysis])
            for table in plan.tables
            for quantity in table.quantities(profile.name)
            if quantity.data == data
        ]
        naming = dict.fromkeys(key for key, analysis in asked if analysis.names)
        asking = {key: analysis.rules for key, analysis in asked if analysis.labels}
        keys = ", ".join(split.key for split in splits)
        try:
            if naming:
                compared_names(_as_stored(splits[-1], listing))
            if len(splits) < 2:
                continue  # views of one dataset
            train, test = (_as_stored(split, listing) for split in splits)
            refuse_shared_images(train, test)
            if asking:
                keys = f"table {', '.join(asking)}: {keys}"
                rows = (np.arange(len(split.image_ids)) for split in (train, test))
                match_labels(train, test, *rows, rules=all(asking.values()))
        except (InputError, OSError) as error:
            found.append(f"{keys}: {error}")
    return found


def _as_stored(split: DataSplit, listing: Listing) -> Any:
    """The images of a store as analyses see them, from the dataset to extract."""
    images = listing(base(split.dataset)).take(split.limit)
    return SimpleNamespace(
        path=split.key, dataset=split.dataset, image_ids=images.image_ids, labels=images.labels,
        label_names=images.label_names,
    )  # fmt: skip


def _unlike(plan: MeasurementPlan, profile: Profile) -> list[str]:
    """Why numbers of comparable tables would not be comparable, as their footnotes will say."""
    found = []
    for table in plan.tables:
        setup = table.setups.get(profile.name)
        for quantity in table.quantities(profile.name) if setup and setup.comparable else ():
            if quantity not in plan.of or not profile.named(quantity.data):
                continue
            roles = profile.data[quantity.data]
            if all(split.expected is not None for split in roles.values()):
                counts = {role: {"images": split.expected} for role, split in roles.items()}
                found += content.unlike_paper(profile, plan.of[quantity], counts)
    return list(dict.fromkeys(found))


def _timed(plan: MeasurementPlan) -> list[dict[str, Any]]:
    """Models of Table 13, on the meta device: nothing of them is stored."""
    found = []
    for name in plan.timed():
        source = Source.parse(name)
        counted = cost(source.model, source.scales, tap=source.tap)
        found.append({"source": name, "gmacs_per_image": counted.gmacs, "params": counted.params})
    return found


def _trainings(plan: MeasurementPlan, profile: Profile) -> dict[str, Any]:
    """Multimodal trainings of the paper's rows, each once."""
    setups = [table.setups.get(profile.name) for table in plan.tables]
    beginnings = [setup.recipes for setup in setups if setup and setup.recipes]
    return paper.estimated(beginnings, tflops=profile.tflops)


def _sums(trainings: dict[str, Any]) -> dict[str, Any]:
    """Sums over the multimodal trainings."""
    names = ("once_tb", "once_gpu_hours", "every_step_gpu_hours")
    sums = {name: sum(row[name] for row in trainings["encoders"]) for name in names}
    return {"trainings": len(trainings["recipes"]), **sums}


def _totals(rows: list[dict], others: list[dict]) -> dict[str, Any]:
    known = [row for row in rows if row["images"] is not None]
    left = [row for row in known if not row["stored"]]
    return {
        "models": len({row["source"].partition("@")[0] for row in [*rows, *others]}),
        "stores": len({row["store"] for row in rows}),
        "gpu_hours": sum(row["gpu_hours"] for row in known),
        "gpu_hours_left": sum(row["gpu_hours"] for row in left),
        "bytes": sum(row["bytes"] for row in known),
        "bytes_left": sum(row["bytes"] for row in left),
        "stored": sum(bool(row["stored"]) for row in rows),
        "uncounted": sorted({row["dataset"] for row in rows if row["images"] is None}),
    }


def counted(
    profile: Profile, needed: Iterable[str], listing: Listing = datasets.open
) -> tuple[Profile, dict[str, str]]:
    """The profile with the number of images of every dataset that its config names.

    A folder is listed, a table read; a dataset of a hub is not opened, since that may fetch it, and
    stays uncounted. Also, for each config key whose dataset cannot be opened, a line that says why.
    """
    sizes: dict[str, int | None] = {}
    unopened = {}
    data = dict(profile.data)
    for key in needed:
        for role, split in profile.data[key].items():
            if split.images is not None:
                continue
            name = base(split.dataset)
            if name not in sizes:
                try:
                    sizes[name] = None if split.on_hub else len(listing(name))
                except InputError as error:
                    sizes[name] = None
                    unopened[split.key] = f"{split.key} = {name!r}: {error}"
            data[key] = {**data[key], role: replace(split, images=sizes[name])}
    return replace(profile, data=data), unopened
