"""``bundled:photos``: crops of the real photographs inside two installed packages.

scikit-image's wheel contains 18 photographs of at least 160 pixels a side, scikit-learn's two.
Nothing is downloaded. Drawings, masks and test patterns in these wheels (chessboard, logo, phantom,
horse, ...) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from feature_store.dataset_name import DatasetName, collection
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset, balanced_order, bundled_split, hash_split

_SKIMAGE = [
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png",
    "coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png",
    "moon.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
]  # fmt: skip
# Photograph -> package, files. The two views of the stereo pair show one scene: one photograph.
PHOTOGRAPHS = {
    **{Path(file).stem: ("skimage", (file,)) for file in _SKIMAGE},
    "motorcycle": ("skimage", ("motorcycle_left.png", "motorcycle_right.png")),
    "china": ("sklearn", ("china.jpg",)),
    "flower": ("sklearn", ("flower.jpg",)),
}
DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}  # package -> pip's name
MIN_SIDE = 160  # smallest crop, in pixels
MAX_PER_AXIS = 8  # crops along one axis, so that no photograph contributes more than 64 per file


@dataclass(frozen=True)
class CropReader:
    """Image id ``FILE@TOP,LEFT,SIDE`` -> that crop of the photograph."""

    folders: dict[str, str]

    def __call__(self, image_id: str) -> Image.Image:
        file, _, box = image_id.rpartition("@")
        top, left, side = (int(v) for v in box.split(","))
        photo = _photograph(str(Path(self.folders[file], file)))
        return photo.crop((left, top, left + side, top + side))


def open_photos(name: DatasetName) -> Dataset:
    """Overlapping crops of 20 photographs, without labels; the split is by photograph.

    Crops are square, a third of the shorter side of the photograph but at least 160 pixels, on an
    evenly spaced grid of at most 8 x 8. A quarter of the photographs (by hash of the name) is the
    test side, so no pixel of a test photograph is seen in training. The order interleaves the
    photographs.
    """
    split = bundled_split(name)
    folders = _folders()
    groups: dict[str, list[str]] = {}
    for photograph in hash_split(list(PHOTOGRAPHS), split):
        package, files = PHOTOGRAPHS[photograph]
        groups[photograph] = [
            f"{file}@{box}" for file in files for box in _boxes(Path(folders[package], file))
        ]
    ids = [i for _, i in balanced_order(groups)]
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=np.full(len(ids), UNLABELLED, np.int32),
        label_names=[],
        reader=CropReader(
            {file: folders[p] for p, files in PHOTOGRAPHS.values() for file in files}
        ),
    )


def few_photographs(name: str) -> list[str]:
    """A warning where a dataset is crops of these photographs; none elsewhere."""
    if collection(name) != "bundled:photos":
        return []
    return [
        f"{name} is crops of {len(PHOTOGRAPHS)} photographs: they generalise so badly "
        f"that a second scale looks harmful; for Table 2 use bundled:textiles or your own images"
    ]


def grid(width: int, height: int) -> list[tuple[int, int, int]]:
    """(top, left, side) of the crops of a photograph of that size, row by row.

    Examples
    --------
    >>> grid(160, 200)
    [(0, 0, 160), (40, 0, 160)]
    """
    side = max(MIN_SIDE, min(width, height) // 3)

    def starts(length: int) -> list[int]:
        count = min(MAX_PER_AXIS, 1 + (length - side) // (side // 4))
        if count == 1:
            return [(length - side) // 2]
        return [(length - side) * k // (count - 1) for k in range(count)]

    return [(top, left, side) for top in starts(height) for left in starts(width)]


@lru_cache(maxsize=32)
def _photograph(path: str) -> Image.Image:
    # All photographs stay decoded, 25 MB in each process, because the order interleaves them.

    with Image.open(path) as opened:
        return opened.convert("RGB")


def _boxes(path: Path) -> list[str]:
    with Image.open(path) as opened:
        width, height = opened.size
    return [",".join(map(str, box)) for box in grid(width, height)]


def package_folder(package: str, *below: str) -> str:
    """Path of a folder inside an installed package, found without importing the package.

    Raises
    ------
    InputError
        The package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"this dataset needs the package {package}; run 'bash scripts/setup.sh bundled' in the "
            f"clone"
        )
    return str(Path(spec.submodule_search_locations[0], *below))


def _folders() -> dict[str, str]:
    """Package -> the folder of its photographs."""
    folders = {
        "skimage": package_folder("skimage", "data"),
        "sklearn": package_folder("sklearn", "datasets", "images"),
    }
    missing = [
        (p, f) for p, fs in PHOTOGRAPHS.values() for f in fs if not Path(folders[p], f).exists()
    ]
    if missing:
        damaged = sorted({DISTRIBUTIONS[package] for package, _ in missing})
        raise InputError(
            f"the installed packages lack {', '.join(file for _, file in missing)}; "
            f"{reinstalling(*damaged)}"
        )
    return folders


def reinstalling(*distributions: str) -> str:
    """How to install damaged packages again, at the versions of the set-up."""
    return (
        f"run '.venv/bin/pip install --force-reinstall --no-deps -c constraints.txt "
        f"{' '.join(distributions)}' in the clone"
    )
