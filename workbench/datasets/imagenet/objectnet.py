"""ObjectNet: photographs in 313 folders of objects, 113 of which are classes of ImageNet.

The published folders: ``images/FOLDER/*.png`` with a red border of 2 pixels, and ``mappings/``:

- ``folder_to_objectnet_label.json``: folder to label;
- ``objectnet_to_imagenet_1k.json``: label to texts of ImageNet's classes, separated by ``"; "``;
- ``imagenet_to_label_2012_v2``: a text per line;
- ``pytorch_to_imagenet_2012_id.json``: class number to line, from 0.

Source: Barbu et al. (2019), NeurIPS; https://objectnet.dev.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from feature_store.dataset_name import EITHER
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.decode import Decoding, decode
from workbench.datasets.folder import FileReader
from workbench.datasets.imagenet.classes import synsets
from workbench.datasets.imagenet.layouts import images_of, of_folders, without

BORDER = 2
"""Pixels of the red border."""


@dataclass(frozen=True)
class WithoutBorder:
    """Reads an image and cuts its border off."""

    below: FileReader
    decoding: Decoding

    def __call__(self, image_id: str) -> Image.Image:
        pixels = decode(self.below(image_id), self.decoding)
        return Image.fromarray(pixels[BORDER:-BORDER, BORDER:-BORDER])


def objectnet(root: Path, decoding: Decoding) -> Dataset:
    """The images of the 113 folders that ImageNet has classes for; the others are left out.

    Raises
    ------
    InputError
        A mapping that is absent or not as published, or folders without a label.
    """
    labels = _mapping(root, "folder_to_objectnet_label.json", dict)
    of_label = _classes_of_labels(root)
    if lacking := [label for label in of_label if label not in labels.values()]:
        raise InputError(f"{root}/mappings: no folder has the label {lacking[0]!r}")
    classes = {folder: of_label.get(label, "") for folder, label in sorted(labels.items())}
    expected = "imagenet:objectnet expects the folders in mappings/folder_to_objectnet_label.json"
    names = list(dict.fromkeys(filter(None, classes.values())))
    images = of_folders(images_of(root / "images"), classes, [*names, ""], expected)
    codes = images.labels.copy()
    codes[codes == len(names)] = UNLABELLED
    reader = FileReader(str(root / "images"))
    images = replace(
        images, labels=codes, label_names=names, reader=WithoutBorder(reader, decoding)
    )
    kept = (codes != UNLABELLED).nonzero()[0].tolist()
    if not kept:
        raise InputError(f"{images.name}: none of its folders is a class of ImageNet")
    return without(images, kept)


def _classes_of_labels(root: Path) -> dict[str, str]:
    """ObjectNet label to the WordNet IDs of its classes, joined."""
    lines = _mapping(root, "imagenet_to_label_2012_v2", list)
    lines_of = _mapping(root, "pytorch_to_imagenet_2012_id.json", dict)
    numbers = {line: int(number) for number, line in lines_of.items()}
    if len(lines) != 1000 or sorted(numbers) != list(range(1000)):
        raise InputError(
            f"{root}/mappings: {len(lines)} texts for {len(numbers)} class numbers, expected 1000 "
            "for lines 0 to 999; take the folder as published"
        )
    classes = defaultdict(list)
    for line, text in enumerate(lines):
        classes[text.strip()].append(synsets()[numbers[line]])
    found = {}
    for label, texts in _mapping(root, "objectnet_to_imagenet_1k.json", dict).items():
        of_texts = [classes[text] for text in texts.split("; ")]
        if any(len(one) != 1 for one in of_texts):
            raise InputError(
                f"{root}/mappings: {label!r} stands for {texts!r}, of which a text has not exactly "
                "one class in imagenet_to_label_2012_v2; take the folder as published"
            )
        found[label] = EITHER.join(sorted(one for (one,) in of_texts))
    return found


def _mapping(root: Path, name: str, kind: type) -> Any:
    path = root / "mappings" / name
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if name.endswith(".json") else text.splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}: {error}; ROOT is the folder with images/ and mappings/, as "
            "ObjectNet is unpacked"
        ) from None
    if not isinstance(found, kind):
        raise InputError(f"{path} is not a {kind.__name__} in JSON or text; take it as published")
    return found
