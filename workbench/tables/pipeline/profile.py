"""Profiles: which images stand behind each data key, where stores lie, what the config says."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feature_store.dataset_name import base, is_on_hub, view_name
from feature_store.errors import InputError

TFLOPS = 200.0
"""Sustained TFLOP/s assumed, not measured, for GPU hours: a fifth of an H100's dense bf16 peak; the
config's ``tflops`` replaces it."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The images of one role (train, test, a view) of a data key."""

    dataset: str
    """Dataset name; empty where the config has yet to name it."""
    images: int | None
    """Images of the usual dataset, for the estimates of a dry run; None for one that the config
    names, until it is counted."""
    key: str
    """Where the config sets it, such as datasets.imagenet.train."""
    store: str
    """Name of its store."""
    limit: int | None = None
    """Only the first so many images."""
    own: bool = True
    """Whether the dataset is the profile's own rather than one that the config names."""
    usual: int | None = None
    """Images of the paper's split, where it is a standard one."""

    @property
    def on_hub(self) -> bool:
        """Whether listing the images may fetch them from a hub."""
        return is_on_hub(self.dataset)

    @property
    def expected(self) -> int | None:
        """Images, the limit considered; None where nobody knows."""
        return min((n for n in (self.images, self.limit) if n is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that a run takes from its profile and config."""

    name: str
    """bundled or paper."""
    data: Mapping[str, Mapping[str, Split]]
    """Data key → role → images."""
    stores: str
    """Folder or URL of the stores."""
    optional: frozenset[str] = frozenset()
    """Data keys whose columns stay empty when the config does not name them."""
    device: str = "auto"
    """Where models run."""
    arithmetic: str = "fp32"
    """Arithmetic of the forward pass."""
    workers: int = 0
    """Decoding processes."""
    shard_images: int = 256
    """Images per shard of a new store."""
    tflops: float = TFLOPS
    """Sustained TFLOP/s behind the GPU hours of a dry run."""

    def has(self, data: str) -> bool:
        """Whether every role of a data key is named; true where none is needed."""
        return not data or all(split.dataset for split in self.data[data].values())

    def named(self, data: str) -> str:
        """Datasets of a data key, by comma, where the config names one of them; else empty."""
        splits = self.data[data].values() if data else ()
        names = [base(split.dataset) for split in splits if split.dataset]
        return "" if all(split.own for split in splits) else ", ".join(dict.fromkeys(names))

    def path(self, split: Split) -> str:
        """Where the store of a split lies."""
        return f"{self.stores}/{split.store}.zarr"


_BUNDLED = {
    "textiles": {"train": ("bundled:textiles:train", 240), "test": ("bundled:textiles:test", 180)},
    "scenes": {"train": ("bundled:scenes:train", 140), "test": ("bundled:scenes:test", 70)},
}
_BUNDLED_VIEWS = 150
_PAPER = {
    # Sizes of the usual splits; the two without one are halved.
    "imagenet": (1_281_167, 50_000),
    "ade20k": (20_210, 2_000),
    "nyuv2": (24_231, 654),
    "cifar100": (50_000, 10_000),
    "pets": (3_680, 3_669),
    "birds": (5_994, 5_794),
    "caltech": (3_060, 6_084),
    "cars": (8_144, 8_041),
    "colorectal": (2_500, 2_500),
    "dtd": (1_880, 1_880),
    "uc_merced": (1_050, 1_050),
}
_HALVED = ("colorectal", "uc_merced")
_REQUIRED = ("imagenet", "ade20k", "nyuv2")
_SETTINGS = {
    "stores": str,
    "device": str,
    "arithmetic": str,
    "workers": int,
    "shard_images": int,
    "tflops": float,
}


def load(name: str, out: Path, config: Path | None) -> Profile:
    """The profile with its config applied.

    Raises
    ------
    InputError
        Unknown profile, or a config that cannot be read or has unknown keys, wrong types or
        values that an extraction would refuse.
    """
    makers = {"bundled": _bundled, "paper": _paper}
    if name not in makers:
        raise InputError(f"no profile {name!r}; choose from {', '.join(makers)}")
    profile = makers[name](str(out / "stores"))
    return _with_views(_configured(profile, read(config), str(config)) if config else profile)


def read(path: Path) -> dict[str, Any]:
    """A TOML config as a dict."""
    try:
        with path.open("rb") as handle:
            return tomllib.load(handle)
    except OSError as error:
        raise InputError(f"cannot read the config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the config {path} is not valid TOML: {error}") from error


def _bundled(stores: str) -> Profile:
    data = {
        key: {
            role: Split(
                dataset=dataset,
                images=count,
                limit=count,
                key=f"datasets.{key}.{role}",
                store=f"{key}_{role}",
            )
            for role, (dataset, count) in roles.items()
        }
        for key, roles in _BUNDLED.items()
    }
    return Profile(name="bundled", data=data, stores=stores, shard_images=60)


def _paper(stores: str) -> Profile:
    data = {
        key: {
            role: Split(
                dataset="",
                images=count,
                key=f"datasets.{key}.{role}",
                store=f"{key}_{role}",
                usual=None if key in _HALVED else count,
            )
            for role, count in zip(("train", "test"), counts, strict=True)
        }
        for key, counts in _PAPER.items()
    }
    data["imagenet_v2"] = {
        "train": data["imagenet"]["train"],
        "test": Split(
            dataset="",
            images=10_000,
            key="datasets.imagenet_v2.test",
            store="imagenet_v2_test",
            usual=10_000,
        ),
    }
    optional = frozenset(data) - set(_REQUIRED)
    return Profile(
        name="paper",
        data=data,
        stores=stores,
        optional=optional,
        device="cuda",
        arithmetic="bf16",
        workers=8,
    )


def _with_views(profile: Profile) -> Profile:
    """Add the augmented views that memorization needs, of the training images."""
    images = "textiles" if profile.name == "bundled" else "imagenet"
    key = "textile_views" if profile.name == "bundled" else "imagenet_views"
    train = profile.data[images]["train"]
    limit = train.limit
    if profile.name == "bundled":
        limit = min(_BUNDLED_VIEWS, train.expected or _BUNDLED_VIEWS)
    views = {
        f"view{k}": replace(
            train,
            dataset=view_name(k, train.dataset) if train.dataset else "",
            store=f"{key}_{k}",
            limit=limit,
        )
        for k in (1, 2)
    }
    return replace(profile, data={**profile.data, key: views})


def _configured(profile: Profile, config: dict[str, Any], where: str) -> Profile:
    datasets = config.get("datasets", {})
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
    import torch

    from workbench.extraction import ExtractRequest

    tflops = settings.get("tflops", TFLOPS)
    if not (math.isfinite(tflops) and tflops > 0):
        raise InputError(f"{where}: tflops is {tflops}; it must be positive and finite")
    device = settings.get("device", "auto")
    if device != "auto":
        try:
            torch.device(device)
        except RuntimeError as error:
            raise InputError(
                f"{where}: device is {device!r}; expected auto, cpu, cuda or cuda:1"
            ) from error
    told = {k: settings[k] for k in ("arithmetic", "workers", "shard_images") if k in settings}
    try:
        ExtractRequest(dataset="any", models=["any"], scales=["any"], store="any", **told)
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


def _split(split: Split, datasets: Mapping[str, Any], where: str) -> Split:
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
