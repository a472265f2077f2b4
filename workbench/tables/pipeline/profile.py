"""Profiles: the images behind each data key, where stores lie, how features are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from feature_store.dataset_name import base, is_on_hub, view_name
from workbench.cost.hours import TFLOPS
from workbench.models.info import Arithmetic


@dataclass(frozen=True, kw_only=True)
class DataSplit:
    """The images of one role (train, test, a view) of a data key."""

    dataset: str = ""
    """Dataset name; empty where the config has yet to name it."""
    images: int | None
    """Images of the usual dataset, for the estimates of a dry run; None for one that the config
    names, until it is counted."""
    key: str
    """Its place in the config, such as datasets.imagenet.train."""
    store: str
    """Name of its store."""
    limit: int | None = None
    """Use only the first N images."""
    own: bool = True
    """Whether the dataset is the profile's own rather than one that the config names."""
    usual: int | None = None
    """Images of the paper's split, where it is a standard one."""
    column: str = ""
    """Column that a csv: table of these images must have, such as mask."""

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
    data: Mapping[str, Mapping[str, DataSplit]]
    """Data key → role → images."""
    stores: str
    """Folder or URL of the stores."""
    optional: frozenset[str] = frozenset()
    """Data keys whose columns stay empty when the config does not name them."""
    device: str = "auto"
    """Where models run."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    workers: int = 0
    """Decoding processes."""
    shard_images: int = 256
    """Images per shard of a new store."""
    tflops: float = TFLOPS
    """Sustained TFLOP/s behind the GPU hours of a dry run; the config's ``tflops`` replaces it."""
    decoder_iterations: int | None = None
    """Steps of the published decoders, where fewer are wanted for a trial."""

    def has(self, data: str) -> bool:
        """Whether every role of a data key is named; true if none is needed."""
        return not data or all(split.dataset for split in self.data[data].values())

    def named(self, data: str) -> str:
        """Datasets of a data key, by comma, where the config names one of them; else empty."""
        splits = self.data[data].values() if data else ()
        names = [base(split.dataset) for split in splits if split.dataset]
        return "" if all(split.own for split in splits) else ", ".join(dict.fromkeys(names))

    def path(self, split: DataSplit) -> str:
        """Path of the store of a split."""
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
_IMAGENET_TESTS = {
    "imagenet_real": 46_837,
    "imagenet_v2": 10_000,
    "imagenet_r": 30_000,
    "imagenet_a": 7_500,
    "objectnet": 18_574,
}
"""Images with a class of ImageNet; a head is trained on ImageNet's training images."""
_HALVED = ("colorectal", "uc_merced")
_COLUMNS = {"ade20k": "mask", "nyuv2": "depth"}
_REQUIRED = ("imagenet", "imagenet_val", "ade20k", "nyuv2")


def bundled(stores: str) -> Profile:
    """Models and images that come as packages."""
    data = {
        key: {
            role: _split(key, role, dataset=dataset, images=count, limit=count)
            for role, (dataset, count) in roles.items()
        }
        for key, roles in _BUNDLED.items()
    }
    return Profile(name="bundled", data=data, stores=stores, shard_images=60)


def paper(stores: str) -> Profile:
    """The paper's models; the config names the images."""
    data = {
        key: {
            role: _split(
                key, role, images=count, usual=None if key in _HALVED else count,
                column=_COLUMNS.get(key, ""),
            )
            for role, count in zip(("train", "test"), counts, strict=True)
        }
        for key, counts in _PAPER.items()
    }  # fmt: skip
    for key, count in _IMAGENET_TESTS.items():
        test = _split(key, "test", images=count, usual=count)
        data[key] = {"train": data["imagenet"]["train"], "test": test}
    data["imagenet_val"] = {"test": data["imagenet"]["test"]}
    return Profile(
        name="paper", data=data, stores=stores, optional=frozenset(data) - set(_REQUIRED),
        device="cuda", arithmetic="bf16", workers=8,
    )  # fmt: skip


def _split(key: str, role: str, **options: Any) -> DataSplit:
    return DataSplit(key=f"datasets.{key}.{role}", store=f"{key}_{role}", **options)


def with_views(profile: Profile) -> Profile:
    """Add the augmented views that memorization needs, of the training images."""
    bundled = profile.name == "bundled"
    images, key = ("textiles", "textile_views") if bundled else ("imagenet", "imagenet_views")
    train = profile.data[images]["train"]
    limit = min(_BUNDLED_VIEWS, train.expected or _BUNDLED_VIEWS) if bundled else train.limit
    views = {}
    for k in (1, 2):
        dataset = view_name(k, train.dataset) if train.dataset else ""
        views[f"view{k}"] = replace(train, dataset=dataset, store=f"{key}_{k}", limit=limit)
    return replace(profile, data={**profile.data, key: views})
