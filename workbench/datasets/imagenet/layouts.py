"""ImageNet-ReaL, -v2, -R and -A in the folders in which they are published."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from feature_store.dataset_name import EITHER, DatasetName
from feature_store.errors import InputError, some
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.folder import open_folder
from workbench.datasets.imagenet.classes import real_labels, synsets, synsets_of

LEFT_OUT = "images without a class of ImageNet"
"""Kind of the images that are not read, in :attr:`Dataset.skipped`."""
_NUMBER = re.compile(r"(?:.*/)?ILSVRC2012_val_(\d{8})\.\w+")


def images_of(root: Path) -> Dataset:
    """Images below a folder, by :func:`open_folder`, under the folder's name."""
    return replace(open_folder(DatasetName(kind="folder", path=str(root))), name=str(root))


def of_folders(images: Dataset, classes: Mapping[str, str], names: list[str], data: str) -> Dataset:
    """Images with the class that their folder stands for.

    Parameters
    ----------
    images : Dataset
        Labelled by folder.
    classes : mapping of str to str
        Folder to class name.
    names : list of str
        Class names in order.
    data : str
        The test set and its folders, for messages.

    Raises
    ------
    InputError
        An image outside of these folders.
    """
    wrong = [folder for folder in images.label_names if folder not in classes]
    if wrong or (images.labels == UNLABELLED).any():
        found = some([*map(repr, wrong)], 5) if wrong else "images outside of folders"
        raise InputError(f"{images.name}: found {found}; {data}")
    number = {name: n for n, name in enumerate(names)}
    of_folder = np.array([number[classes[f]] for f in images.label_names], np.int32)
    return replace(images, labels=of_folder[images.labels], label_names=names)


def v2(root: Path) -> Dataset:
    """ImageNet-v2: folders 0 to 999, which are class numbers (not places in a sorted list)."""
    classes = {str(number): name for number, name in enumerate(synsets())}
    expected = "imagenet:v2 expects folders 0 to 999, as in imagenetv2-matched-frequency-format-val"
    return of_folders(images_of(root), classes, list(synsets()), expected)


def r(root: Path) -> Dataset:
    """ImageNet-R: 200 folders of WordNet IDs."""
    return _subset(root, "r")


def a(root: Path) -> Dataset:
    """ImageNet-A: 200 folders of WordNet IDs."""
    return _subset(root, "a")


def _subset(root: Path, which: str) -> Dataset:
    names = list(synsets_of(which))
    expected = (
        f"imagenet:{which} expects the {len(names)} folders of ImageNet-{which.upper()}, such as "
        f"{names[0]}"
    )
    return of_folders(images_of(root), dict(zip(names, names, strict=True)), names, expected)


def real(root: Path) -> Dataset:
    """ImageNet's validation images with ReaL's labels; images without any are left out.

    Images ILSVRC2012_val_00000001.JPEG and so on, in ROOT/val or ROOT, with or without folders of
    classes; in that order. Labels are those of ROOT/real.json, or of timm where there is none.

    Raises
    ------
    InputError
        Other images, or a list of labels that is not one of class numbers for every image.
    """
    images = images_of(root / "val" if (root / "val").is_dir() else root)
    numbers = {}
    for row, image_id in enumerate(images.image_ids):
        found = _NUMBER.fullmatch(image_id)
        number = int(found[1]) if found else 0
        if number == 0 or number in numbers:
            what = " a second time" if number else ", which is not a validation image"
            raise InputError(
                f"{images.name}: found {image_id!r}{what}; imagenet:real expects "
                "ILSVRC2012_val_00000001.JPEG to ILSVRC2012_val_00050000.JPEG, each once"
            )
        numbers[number] = row
    labels = _real_labels(root, max(numbers))
    names = list(synsets())
    of_image = {n: EITHER.join(names[c] for c in labels[n - 1]) for n in sorted(numbers)}
    kept = [n for n, name in of_image.items() if name]
    if not kept:
        raise InputError(f"ReaL has no label for any image in {root}")
    all_names = list(dict.fromkeys([*names, *(of_image[n] for n in kept)]))
    place = {name: k for k, name in enumerate(all_names)}
    codes = np.full(len(images), UNLABELLED, np.int32)
    for number in kept:
        codes[numbers[number]] = place[of_image[number]]
    labelled = replace(images, labels=codes, label_names=all_names)
    return without(labelled, [numbers[number] for number in kept])


def without(images: Dataset, kept: list[int]) -> Dataset:
    """The rows `kept` of a dataset, the number of others stated in its `skipped`."""
    left = len(images) - len(kept)
    found = images.rows(kept)
    return replace(found, skipped=images.skipped | ({LEFT_OUT: left} if left else {}))


def _real_labels(root: Path, images: int) -> list[list[int]]:
    """Class numbers of validation image 1, 2, ..., in ascending order."""
    path = root / "real.json"
    try:
        labels = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else real_labels()
        found = [sorted({int(c) for c in one}) for one in labels]
        wrong = [c for one in found for c in one if not 0 <= c < 1000]
        if wrong:
            raise ValueError(f"found {wrong[0]}")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a list of lists of class numbers 0 to 999 ({error}); take the file as "
            f"published, or remove it for the copy in timm"
        ) from None
    if len(found) < images:
        raise InputError(
            f"ReaL has labels for {len(found):,} validation images; {root} holds one with the "
            f"number {images}"
        )
    return found
