"""Run a dense probe for its command: heads on tokens or crops, tables and figures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import feature_store
from analyses import dense_probe
from analyses.configs import DenseConfig
from analyses.reading.labelled_tokens import whole_maps
from analyses.reading.splits import image_notes
from analyses.statistics import bootstrap
from feature_store import FeatureStore
from feature_store.dataset_name import is_dataset_name
from workbench import datasets
from workbench.cost.hours import TFLOPS
from workbench.datasets import Dataset
from workbench.datasets.pictures import as_seen
from workbench.datasets.target_maps import targets_for
from workbench.heads import estimate as planning
from workbench.heads import fit, on_the_fly
from workbench.heads.images import TokenImages
from workbench.heads.optimiser import enough_memory
from workbench.heads.options import DenseOptions
from workbench.heads.report import METRICS, class_table, write_dense
from workbench.results import strict_json
from workbench.results.files import require_folder
from workbench.results.messages import note, show
from workbench.results.terminal import show_table


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Arguments of a dense probe."""

    train: str
    """Store of training images; with crops, a dataset name is also accepted."""
    test: str
    """Store of test images, or a dataset name, likewise."""
    sources: Sequence[str]
    """Sources to compare."""
    maps: DenseOptions
    """Options of the head and of its training."""
    config: DenseConfig
    """Task, merge, penalties, resamples and seed."""
    device: str
    """Torch device."""
    out: Path | None
    """Folder for tables, figures and runs."""
    json: bool
    """Whether to print one JSON object."""


def run(asked: Asked) -> int:
    """Train, score and report; returns the exit status, 1 if a training was asked to stop."""
    if asked.out is not None:
        require_folder(asked.out, "--out")
    with tempfile.TemporaryDirectory() as temporary:  # without a folder nothing is resumed
        folder = asked.out or Path(temporary)
        crops = asked.maps.crops_images
        parts = _from_crops(asked, folder) if crops else _from_tokens(asked, folder)
    if parts is None:
        where = "" if asked.out else "; with --out, the training would resume"
        note(f"workbench probe: stopped before the end; repeat the command to resume{where}")
        return 1
    task = asked.config.task
    table = pd.concat(parts, ignore_index=True)
    resampled = {k: v for part in parts for k, v in part.attrs["resampled"].items()}
    images = parts[0].attrs["shared_images"]
    note(*image_notes(images))
    against = bootstrap.differences(table, METRICS[task][0], resampled)
    classes = pd.DataFrame()
    if task == "segmentation":
        classes = class_table(parts, images_of(asked.test).mask_names)
    if asked.out is not None:
        store = None if crops else feature_store.open(asked.test)
        write_dense(table, against, classes, task, store, asked.out)
        _write_sheet(asked, parts, store)
    if asked.json:
        found = {"rows": table, "differences": against, "shared_images": images}
        if len(classes):
            found["classes"] = classes
        show(strict_json.dumps(found))
    else:
        show_table(table)
        show_table(against)
    return 0


def _from_tokens(asked: Asked, folder: Path) -> list[pd.DataFrame] | None:
    """One table per source, for heads trained on stored tokens."""
    stores = feature_store.open(asked.train), feature_store.open(asked.test)
    decoder, training = asked.maps.from_tokens()
    decoder = replace(decoder, device=asked.device)
    config, targets = asked.config, {}
    for source in asked.sources:  # all are checked before the first training
        for store in stores:
            whole_maps(store, source, config.merge)
        train, test = (  # models may crop differently: each has its own targets
            targets_for(store, source, config.task, asked.maps.depth_unit, crop)
            for store, crop in zip(stores, ("none", asked.maps.eigen_crop), strict=True)
        )
        targets[source] = train, test
        if decoder.head != "linear":
            seen = TokenImages(stores[0], source, config.merge, train)
            fit.refuse_other(seen, config, decoder, training, folder)
    parts = []
    for source in asked.sources:
        given: dict[str, Any] = {
            "sources": [source], "targets": targets[source], "config": config
        }  # fmt: skip
        if decoder.head == "linear":
            parts.append(dense_probe.compute(*stores, **given))
            continue
        with enough_memory(decoder):
            part = fit.compute(
                *stores, **given, decoder=decoder, training=training, folder=folder, log=note
            )
        if part is None:
            return None
        parts.append(part)
    return parts


def _from_crops(asked: Asked, folder: Path) -> list[pd.DataFrame] | None:
    """One table of all sources, for decoders trained on crops of the images."""
    options = asked.maps.on_the_fly(asked.config, asked.device)
    with enough_memory(options.decoder):
        table = on_the_fly.compute(
            images_of(asked.train), images_of(asked.test), sources=asked.sources,
            options=options, folder=folder, log=note,
        )  # fmt: skip
    return None if table is None else [table]


def estimate(asked: Asked) -> int:
    """Print the estimated cost of the training; returns the exit status."""
    options = asked.maps.on_the_fly(asked.config, asked.device)
    train, test = images_of(asked.train), images_of(asked.test)
    classes = len(train.mask_names or ()) or planning.CLASSES
    images = len(train), len(test)
    rows = [
        planning.estimate(source, options, images=images, classes=classes)
        for source in asked.sources
    ]
    if asked.json:
        rates = {
            "assumed_tflops": TFLOPS,
            "assumed_decoder_tflops": planning.FP32_SHARE * TFLOPS,
        }
        show(strict_json.dumps({"rows": rows, **rates}))
    else:
        show_table(planning.readable(rows))
        note(*map(planning.advice, rows), planning.assumption())
    return 0


def _write_sheet(asked: Asked, parts: Sequence[pd.DataFrame], store: FeatureStore | None) -> None:
    """Draw some test images as the first source saw them, with their true and predicted maps."""
    # Deferred: matplotlib takes 1 s to import.
    from workbench.figures import style
    from workbench.figures.predictions import Predicted, draw_predictions

    found = {source: of for part in parts for source, of in part.attrs["per_image"].items()}
    first, *_ = found
    dataset = images_of(asked.test)
    photograph = dataset.image if store is None else as_seen(store, first)
    shared = [row for row in found[first].maps if all(row in of.maps for of in found.values())]
    images = [
        Predicted(
            title=str(dataset.image_ids[row])[-24:], photograph=photograph(row),
            truth=found[first].maps[row][0], maps=[of.maps[row][1] for of in found.values()],
        )
        for row in shared
    ]  # fmt: skip
    if images:
        assert asked.out is not None
        drawn = draw_predictions(images, list(found), dataset.mask_names)
        style.save(drawn, asked.out / f"{asked.config.task}_predictions")


def images_of(name: str) -> Dataset:
    """Open a dataset by its name, or the dataset of a store, with the store's images in order."""
    if is_dataset_name(name):
        return datasets.open(name)
    store = feature_store.open(name)
    return datasets.open_of(store).ordered_as(store.image_ids, store.path)
