"""How stores and datasets differ from what tables were made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import feature_store
from feature_store import protocol
from feature_store.dataset_name import is_dataset_name
from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.target_maps import files_sha256, images_sha256, maps_sha256
from workbench.tables.records.provenance import found_path


def maps_of(path: str, task: str, images: int) -> str:
    """Hash of the maps of a store by its path, or of the first images of a dataset by its name."""
    if is_dataset_name(path):
        dataset = datasets.open(path).take(images)
        return files_sha256(dataset, dataset.image_ids, task)
    return maps_sha256(feature_store.open(path), task)


def stale(
    measurements: Mapping[str, Mapping[str, Any]],
    out: Path,
    maps: Callable[[str, str, int], str] = maps_of,
) -> list[str]:
    """How the stores differ from what a table was made of, in words; empty for a fresh table.

    Paths are those of records in the folder `out`. `maps` may remember what it looked at: many
    measurements share the maps of one store.
    """
    found: list[str] = []
    for provenance in measurements.values():
        for store in provenance["stores"].values():
            found += _differences(store, found_path(store["path"], out), maps)
    return list(dict.fromkeys(found))


def _differences(
    recorded: Mapping[str, Any], path: str, maps_now: Callable[[str, str, int], str]
) -> list[str]:
    try:
        if is_dataset_name(path):
            return _other_images(recorded, path, maps_now)
        store = feature_store.open(path)
    except InputError as error:
        return [f"{path} cannot be opened ({str(error).split(';')[0]})"]
    if store.attrs["image_ids_sha256"] != recorded["image_ids_sha256"]:
        return [f"{path} holds other images ({len(store)}; {recorded['images']} then)"]
    found = []
    if store.attrs["labels_sha256"] != recorded["labels_sha256"]:
        found.append(f"{path} has other labels")
    if "maps" in recorded:
        found += _other_maps(path, store.dataset, recorded, maps_now)
    stored = set(store.sources())
    for name, identity in recorded["sources"].items():
        if name not in stored:
            found.append(f"{path} no longer holds {name}")
        elif store.source(name).identity != identity:
            found.append(f"{path}: {name} was extracted again with other settings")
        elif store.source(name).missing():
            found.append(f"{path}: {name} is incomplete")
    return found


def _other_images(
    recorded: Mapping[str, Any], path: str, maps_now: Callable[[str, str, int], str]
) -> list[str]:
    """How a dataset differs from what decoders were trained on."""
    dataset = datasets.open(path).take(recorded["images"])
    if protocol.ids_sha256(dataset.image_ids) != recorded["image_ids_sha256"]:
        return [f"{path} lists other images"]
    if recorded.get("files_sha256") not in (None, images_sha256(dataset)):
        return [f"the files of images of {path} have changed"]
    return _other_maps(path, path, recorded, maps_now)


def _other_maps(
    path: str, dataset: str, recorded: Mapping[str, Any], now: Callable[[str, str, int], str]
) -> list[str]:
    task = recorded["maps"]["task"]
    try:
        same = now(path, task, recorded["images"]) == recorded["maps"]["sha256"]
    except InputError as error:
        return [f"the {task} maps of {dataset} cannot be looked at ({error})"]
    return [] if same else [f"the {task} maps of {dataset} have changed"]
