"""The config of a run, a TOML file that names datasets, stores and device, and checks of it.

Everything here is seen from the config alone: no image is listed or read.
"""

from __future__ import annotations

import csv
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from feature_store.dataset_name import ONE_FILE, DatasetName
from feature_store.errors import InputError
from workbench.extraction.request import ExtractRequest
from workbench.results.messages import note
from workbench.tables.pipeline import profile as profiles
from workbench.tables.pipeline.profile import DataSplit, Profile

_SETTINGS = {
    "stores": str,
    "device": str,
    "arithmetic": str,
    "workers": int,
    "shard_images": int,
    "tflops": float,
    "decoder_iterations": int,
}


def load(name: str, out: Path, config: Path | None) -> Profile:
    """The profile with its config applied.

    Raises
    ------
    InputError
        Unknown profile, or a config that cannot be read or has unknown keys, wrong types or
        values that an extraction would refuse.
    """
    makers = {"bundled": profiles.bundled, "paper": profiles.paper}
    if name not in makers:
        raise InputError(f"no profile {name!r}; choose from {', '.join(makers)}")
    profile = makers[name](str(out / "stores"))
    return profiles.with_views(
        _configured(profile, read(config), str(config)) if config else profile
    )


def read(path: Path) -> dict[str, Any]:
    """A TOML config as a dict."""
    try:
        with path.open("rb") as handle:
            return tomllib.load(handle)
    except OSError as error:
        raise InputError(f"cannot read the config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the config {path} is not valid TOML: {error}") from error


def problems(profile: Profile, needed: Iterable[str]) -> dict[str, str]:
    """Config key → what is wrong there and keeps a run from starting; empty if nothing is.

    `needed` are data keys; of a dataset only its name is looked at.
    """
    found = {}
    for split in (split for data in needed for split in profile.data[data].values()):
        if not split.dataset:
            section, _, name = split.key.rpartition(".")
            found[split.key] = f"{split.key} is not set; name a dataset as {name} in [{section}]"
        elif problem := _problem(split.dataset, split.column):
            found.setdefault(split.key, f"{split.key} = {split.dataset!r}: {problem}")
    return found


def _problem(dataset: str, column: str) -> str:
    """The error in a dataset name, found without listing its images; empty if none."""
    try:
        name = DatasetName.parse(dataset).base
    except InputError as error:
        return str(error)
    path = Path(name.path).expanduser()
    if name.kind in ("folder", "maps", "imagenet"):
        return "" if path.is_dir() else f"folder {name.path} does not exist"
    if name.kind == "csv":
        if not path.is_file():
            return f"there is no table {name.path}"
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            columns = [text.strip() for text in next(csv.reader(handle), [])]
        return "" if not column or column in columns else f"the table has no column {column!r}"
    if name.kind in ONE_FILE and not path.exists():
        return f"there is no {path}"
    return ""


def _configured(profile: Profile, config: dict[str, Any], where: str) -> Profile:
    datasets = config.get("datasets", {})
    if "precision" in config and "arithmetic" not in config:  # its old name
        note(f"{where}: the key precision is now arithmetic; rename it")
        config = {"arithmetic" if k == "precision" else k: v for k, v in config.items()}
    _refuse_unknown(config, [*_SETTINGS, "datasets"], where)
    if not isinstance(datasets, dict):
        raise InputError(f"{where}: datasets is {datasets!r}; expected tables [datasets.NAME]")
    _refuse_unknown(datasets, list(profile.data), f"{where}, [datasets]")
    settings: dict[str, Any] = {}
    for name, kind in _SETTINGS.items():
        if name in config:
            value = config[name]
            right = isinstance(value, (int, float) if kind is float else kind)
            if not right or isinstance(value, bool):
                raise InputError(f"{where}: {name} is {value!r}; expected {kind.__name__}")
            settings[name] = value
    settings = _checked(settings, where)
    data = {
        key: {role: _split(split, datasets, where) for role, split in roles.items()}
        for key, roles in profile.data.items()
    }
    for key, given in datasets.items():
        roles = [r for r, s in profile.data[key].items() if s.key.startswith(f"datasets.{key}.")]
        _refuse_unknown(given, [*roles, *(f"{r}_limit" for r in roles)], f"[datasets.{key}]")
    return replace(profile, data=data, **settings)


def _checked(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Settings that an extraction would take; a home in `stores` written out.

    Whether this machine has the device is left to the run: a dry run may plan for another one.
    """
    tflops = settings.get("tflops", profiles.TFLOPS)
    if not (math.isfinite(tflops) and tflops > 0):
        raise InputError(f"{where}: tflops is {tflops}; it must be positive and finite")
    if settings.get("decoder_iterations", 1) < 1:
        raise InputError(
            f"{where}: decoder_iterations is {settings['decoder_iterations']}; expected at least 1"
        )
    device = settings.get("device", "auto")
    if device != "auto":
        try:
            torch.device(device)
        except RuntimeError as error:
            raise InputError(
                f"{where}: device is {device!r}; expected auto, cpu, cuda or cuda:1"
            ) from error
    given = {k: settings[k] for k in ("arithmetic", "workers", "shard_images") if k in settings}
    try:
        ExtractRequest(dataset="any", models=["any"], scales=["any"], store="any", **given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if "stores" not in settings:
        return settings
    stores = settings["stores"].strip()
    if not stores:
        raise InputError(
            f"{where}: stores is empty; name a folder or URL, or leave it out for OUT/stores"
        )
    return settings | {"stores": stores if "://" in stores else os.path.expanduser(stores)}


def _split(split: DataSplit, datasets: Mapping[str, Any], where: str) -> DataSplit:
    """A split with the dataset and limit that the config gives under its key."""
    _, key, role = split.key.split(".")
    given = datasets.get(key, {})
    if not isinstance(given, dict):
        raise InputError(f"{where}: datasets.{key} is {given!r}; expected train and test names")
    dataset = given.get(role, split.dataset)
    limit = given.get(f"{role}_limit", None if role in given else split.limit)
    if not isinstance(dataset, str):
        raise InputError(f"{where}: {split.key} is {dataset!r}; expected a dataset name")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise InputError(f"{where}: {split.key}_limit is {limit!r}; expected a positive number")
    images = None if role in given else split.images
    own = dataset == split.dataset
    return replace(split, dataset=dataset, limit=limit, images=images, own=own)


def _refuse_unknown(found: Iterable[str], known: list[str], where: str) -> None:
    wrong = [name for name in found if name not in known]
    if wrong:
        raise InputError(f"{where}: unknown key {wrong[0]!r}; there are: {', '.join(known)}")
