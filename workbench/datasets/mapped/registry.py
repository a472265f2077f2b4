"""``maps:NAME:SPLIT:ROOT``: public datasets with masks or depth, unpacked on this disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.mapped.depth import kitti, nyuv2
from workbench.datasets.mapped.layout import Split
from workbench.datasets.mapped.segmentation import ade20k, cityscapes, voc

LAYOUTS: dict[str, Callable[[Path, str], Split]] = {
    "ade20k": ade20k,
    "cityscapes": cityscapes,
    "voc": voc,
    "nyuv2": nyuv2,
    "kitti": kitti,
}
"""Name to what reads its layout."""


def open_mapped(name: DatasetName) -> Dataset:
    """A split of a public dataset; nothing is fetched.

    Raises
    ------
    InputError
        A name or split that is not known, or files that do not lie as published.
    """
    if name.name not in LAYOUTS:
        raise InputError(f"no dataset {name.name!r} with maps; known: {', '.join(LAYOUTS)}")
    root = Path(name.path).expanduser()
    if not root.is_dir():
        raise InputError(f"no folder {name.path!r} (looked in {Path.cwd()}); check the path")
    found = LAYOUTS[name.name](root, name.split)
    return Dataset(
        name=str(name),
        image_ids=found.image_ids,
        labels=np.full(len(found.image_ids), UNLABELLED, np.int32),
        label_names=[],
        reader=found.reader,
        file_of=found.reader.path,  # type: ignore[attr-defined]
        mask_reader=found.masks,
        depth_reader=found.depths,
        mask_names=found.names,
        skipped={"without a map": found.without} if found.without else {},
    )
