"""``torchvision:NAME:SPLIT:ROOT``: a torchvision dataset that is already on this disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import Dataset
from workbench.datasets.folder import read_image_file

if TYPE_CHECKING:
    from PIL import Image

# NAME -> (split argument, attribute that lists the labels without decoding an image).
# A boolean ``train`` argument is spelled "train"; None means that the dataset has one split, "all".
KNOWN: dict[str, tuple[str | None, str]] = {
    "CIFAR10": ("train", "targets"),
    "CIFAR100": ("train", "targets"),
    "Country211": ("split", "targets"),
    "DTD": ("split", "_labels"),
    "EuroSAT": (None, "targets"),
    "FGVCAircraft": ("split", "_labels"),
    "FashionMNIST": ("train", "targets"),
    "Flowers102": ("split", "_labels"),
    "Food101": ("split", "_labels"),
    "ImageNet": ("split", "targets"),
    "KMNIST": ("train", "targets"),
    "MNIST": ("train", "targets"),
    "OxfordIIITPet": ("split", "_labels"),
    "STL10": ("split", "labels"),
    "SVHN": ("split", "labels"),
}
FILES = ("samples", "_image_files", "_images")
"""Attributes in which torchvision lists the images' files, alone or as (file, label)."""


@dataclass(frozen=True)
class ItemReader:
    """Item of a torchvision dataset by its number, which is the image id.

    A dataset of files gives the file's bytes: one policy of decoding for every dataset.
    """

    items: Any = field(repr=False)

    def __call__(self, image_id: str) -> bytes | Image.Image:
        number = int(image_id)
        files = next((f for name in FILES if (f := getattr(self.items, name, None))), None)
        if files is None:
            return self.items[number][0]
        entry = files[number]
        return read_image_file(Path(entry if isinstance(entry, str | Path) else entry[0]))


def open_torchvision(name: DatasetName) -> Dataset:
    """A torchvision dataset, never downloaded; ids are item numbers with leading zeros.

    Raises
    ------
    InputError
        A dataset or split that torchvision does not have, or nothing at ROOT.
    """
    if name.name not in KNOWN:
        near = get_close_matches(name.name, KNOWN, n=3, cutoff=0.5) or sorted(KNOWN)
        raise InputError(f"no torchvision dataset {name.name!r}; known: {', '.join(near)}")
    argument, labels_attribute = KNOWN[name.name]
    items = _construct(name.name, name.path, _split_argument(argument, name.split))
    labels = np.asarray(getattr(items, labels_attribute), np.int32)
    classes = getattr(items, "classes", None) or map(str, range(int(labels.max()) + 1))
    # ImageNet lists several words per class.
    label_names = [c if isinstance(c, str) else ", ".join(c) for c in classes]
    return Dataset(
        name=str(name),
        image_ids=[f"{n:08d}" for n in range(len(items))],
        labels=labels,
        label_names=label_names,
        reader=ItemReader(items),
    )


def _split_argument(argument: str | None, split: str) -> dict[str, Any]:
    if argument == "split":
        return {"split": split}
    valid = ("all",) if argument is None else ("train", "test")
    if split not in valid:
        raise InputError(f"no split {split!r}; this dataset has: {', '.join(valid)}")
    return {} if argument is None else {"train": split == "train"}


def _construct(dataset: str, root: str, options: dict[str, Any]) -> Any:
    from torchvision import datasets

    try:
        return getattr(datasets, dataset)(root, **options)
    except (RuntimeError, FileNotFoundError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InputError(
            f"torchvision cannot open {dataset} at {root!r}: {line} "
            "(download or unpack it there first; nothing is fetched by this command)"
        ) from None
