"""``bundled:textiles``: 2,000 photographs of woven cloth from the package ``conformal-clip-data``.

250 x 250 JPEG; 1,000 nominal, 500 with a local defect (tiny), 500 with a global defect;
MIT licence. Images of different classes with the same number are not copies of each other
(correlation below 0.1), so a split by image is fair.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feature_store.dataset_name import DatasetName
from workbench.datasets.base import Dataset, balanced_order, bundled_split, hash_split
from workbench.datasets.bundled.photos import package_folder
from workbench.datasets.folder import FileReader

CLASSES = ["global", "local", "nominal"]


def open_textiles(name: DatasetName) -> Dataset:
    """Textiles, all of them or one side of a fixed split (75 / 25 within each class, by id hash).

    The order interleaves the classes, so that the first N images are a stratified sample.
    """
    split = bundled_split(name)
    root = Path(package_folder("conformal_clip_data", "data", "textile_images", "simulated"))
    groups = {
        label: hash_split([f"{label}/{p.name}" for p in (root / label).glob("*.jpg")], split)
        for label in CLASSES
    }
    ordered, reader = balanced_order(groups), FileReader(str(root))
    return Dataset(
        name=str(name),
        image_ids=[i for _, i in ordered],
        labels=np.array([CLASSES.index(label) for label, _ in ordered], np.int32),
        label_names=list(CLASSES),
        reader=reader,
        file_of=reader.path,
    )
