"""Where a number comes from: stores and identities, settings, code, date, machine; and staleness.

A measurement's fingerprint is the hash of everything that decides its values: the call, the images
and identities of its stores, and the code of the analyses. Equal fingerprint: the stored result is
used; different: it is measured again.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from feature_store import FeatureStore, Source, protocol
from feature_store.dataset_name import is_dataset_name
from feature_store.errors import InputError
from workbench import code_hash as code
from workbench.datasets import Dataset
from workbench.datasets.target_maps import files_sha256, images_sha256, maps_sha256

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "xarray")
SETTINGS = ("protocol_version", "precision", "dtype", "decoder", "libraries", "code_sha256")
"""Manifest fields that all features behind one table have to share."""


def of_stores(
    stores: Mapping[str, FeatureStore], singles: Iterable[Source], maps: str = ""
) -> dict[str, Any]:
    """Role → path, dataset, images, and the identity of every single-scale source.

    `maps` names target maps that are read beside the features, segmentation or depth: their hash
    belongs to what decides a value.
    """
    singles = list(singles)
    found = {}
    for role, store in stores.items():
        scales = [store.source(single) for single in singles]
        settings = {
            name: sorted({json.dumps(s.manifest.get(name), sort_keys=True) for s in scales})
            for name in SETTINGS
        }
        found[role] = {
            "path": store.path,
            "dataset": store.dataset,
            "images": len(store),
            "image_ids_sha256": store.attrs["image_ids_sha256"],
            "labels_sha256": store.attrs["labels_sha256"],
            "sources": {str(scale.source): scale.identity for scale in scales},
            "settings": settings,
        }
        if maps:
            found[role]["maps"] = {"task": maps, "sha256": maps_sha256(store, maps)}
    return found


def of_images(
    images: Mapping[str, Dataset],
    maps: str,
    weights: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Provenance of datasets that are read without a store; ``path`` is the name.

    `weights` are hashes by source; `settings` hold everything else that decides features of crops.
    """
    return {
        role: {
            "path": dataset.name,
            "dataset": dataset.name,
            "images": len(dataset),
            "image_ids_sha256": protocol.ids_sha256(dataset.image_ids),
            "labels_sha256": protocol.labels_sha256(dataset.labels),
            "files_sha256": images_sha256(dataset),
            "sources": dict(weights),
            "settings": {
                f"of crops: {name}": [json.dumps(value, sort_keys=True)]
                for name, value in settings.items()
            },
            "maps": {"task": maps, "sha256": files_sha256(dataset, dataset.image_ids, maps)},
        }
        for role, dataset in images.items()
    }


def kept_path(path: str, out: Path) -> str:
    """A path as the records of a folder keep it: relative inside the folder, else absolute.

    So the folder may be renamed or copied with what it holds. URLs and dataset names stay.

    Examples
    --------
    >>> kept_path("/runs/tables/stores/a.zarr", Path("/runs/tables"))
    'stores/a.zarr'
    >>> kept_path("/data/a.zarr", Path("/runs/tables"))
    '/data/a.zarr'
    """
    if _is_elsewhere(path):
        return path
    whole, root = Path(os.path.abspath(path)), Path(os.path.abspath(out))
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


def found_path(path: str, out: Path) -> str:
    """Resolve a path from a record of a folder; the inverse of :func:`kept_path`.

    Examples
    --------
    >>> found_path("stores/a.zarr", Path("/runs/tables"))
    '/runs/tables/stores/a.zarr'
    """
    return path if _is_elsewhere(path) else str(out / path)


def _is_elsewhere(path: str) -> bool:
    """Whether a record names a URL or a dataset."""
    return "://" in path or is_dataset_name(path)


def fingerprint(call: Mapping[str, Any], stores: Mapping[str, Any]) -> str:
    """Hash of a call on stores as :func:`of_stores` describes them, and of the code behind it."""
    # Without their paths: a folder that moved holds the same features.
    held = {role: {k: v for k, v in s.items() if k != "path"} for role, s in stores.items()}
    content = {"call": call, "stores": held, "code": code.measuring_sha256()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


@functools.cache
def stamp() -> dict[str, Any]:
    """Package version, commit of the checkout (None outside of one), libraries and machine."""
    return {
        "version": importlib.metadata.version("s2-workbench"),
        **_commit(),
        "code_sha256": code.measuring_sha256(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _commit() -> dict[str, Any]:
    here = Path(__file__).parents[3]
    if not (here / ".git").exists() or shutil.which("git") is None:
        return {"commit": None, "dirty": None}

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)
        return done.stdout.strip()

    return {"commit": git("rev-parse", "HEAD") or None, "dirty": bool(git("status", "--porcelain"))}


def made(table: Mapping[str, Any]) -> str:
    """When and by which code a table was measured, if anything in it was, and written; in words."""
    measured = table["measurements"].values()
    written = f"{table['date']}, {_by(table['code'])}"
    if not measured:
        return f"Made {written}"
    dates = sorted({m["date"] for m in measured})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    by = " and ".join(sorted({_by(m["code"]) for m in measured}))
    return f"Measured {when}, {by}; written {written}"


def _by(code: Mapping[str, Any]) -> str:
    commit = f"commit {code['commit'][:10]}" if code["commit"] else "no checkout"
    return f"version {code['version']}, {commit}{' with edits' if code['dirty'] else ''}"


def stores(table: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Store path → source → identity, over all measurements of a table."""
    found: dict[str, dict[str, str]] = {}
    for measurement in table["measurements"].values():
        for store in measurement["stores"].values():
            found.setdefault(store["path"], {}).update(store["sources"])
    return found


def line(table: Mapping[str, Any]) -> str:
    """The last line of every written table: dates, version, commit, stores with identities.

    A figure that draws other tables names them with their digests; they name their stores.
    """
    features = [
        f"{path} ({', '.join(f'{source} {mark[:10]}' for source, mark in sorted(held.items()))})"
        for path, held in stores(table).items()
        if held
    ]
    drawn = [f"{key} ({digest[:10]})" for key, digest in table.get("uses", {}).items()]
    parts = [made(table)]
    parts += [f"features: {'; '.join(features)}"] if features else []
    parts += [f"with what it draws of the tables {', '.join(drawn)}"] if drawn else []
    return " ".join("; ".join(parts).split()) + "."


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def refuse_mixed(key: str, measurements: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a table whose numbers come from features or code that differ.

    `measurements` maps fingerprints to provenance, as tables keep it.

    Raises
    ------
    InputError
        One store with two sets of images or two identities of a source, features computed with
        different settings, or results of different versions of the analyses.
    """
    if found := mixed(measurements):
        raise InputError(
            f"table {key} would mix what does not belong together: {'; '.join(found)}. Extract the "
            f"sources again with one version into new stores, or name a new --out"
        )


def mixed(measurements: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Differences within a table, in words; empty if it is consistent."""
    seen: dict[tuple[str, str], set[str]] = {}
    for provenance in measurements.values():
        seen.setdefault(("", "code of the analyses"), set()).add(provenance["code"]["code_sha256"])
        for store in provenance["stores"].values():
            path = store["path"]
            seen.setdefault((path, "images"), set()).add(store["image_ids_sha256"])
            for source, identity in store["sources"].items():
                seen.setdefault((path, source), set()).add(identity)
            for name, values in store.get("settings", {}).items():
                seen.setdefault(("features", name), set()).update(values)
    return [
        f"{' '.join(filter(None, what))} in {len(values)} versions"
        for what, values in seen.items()
        if len(values) > 1
    ]
