"""``bundled:stereo``: tiles of one photograph with its true depth.

scikit-image's wheel carries one scene of the Middlebury 2014 stereo benchmark (Scharstein et al.
2014, a motorcycle in a workshop) with the measured disparity of its left view and the calibration
that turns disparity into metres: depth = focal length * baseline / (disparity + offset).

Train tiles come from the left half of the left view and test tiles from the right half, so no pixel
is in both. Both halves show one scene, and neighbouring tiles overlap: results show how a head
transfers within a scene, and intervals over tiles are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import UNLABELLED, Dataset, bundled_split, hash_key
from workbench.datasets.bundled.photos import package_folder, reinstalling

PICTURE, DISPARITY = "motorcycle_left.png", "motorcycle_disp.npz"
SIZE = (500, 741)  # pixels, height and width
FOCAL = 994.978  # pixels; calibration from scikit-image's documentation of the pair
BASELINE = 0.193001  # metres
OFFSET = 31.086  # pixels between the principal points of the two views
SIDE, STRIDE = 160, 34  # of the tiles, in pixels
MIDDLE = SIZE[1] // 2  # first column of the test half


@dataclass(frozen=True)
class TileReader:
    """Image id ``TOP,LEFT`` -> that tile of the picture or of the depth map."""

    folder: str
    part: str

    def __call__(self, image_id: str):
        top, left = (int(v) for v in image_id.split(","))
        if self.part == "depth":
            return _depth(self.folder)[top : top + SIDE, left : left + SIDE]
        return _picture(self.folder).crop((left, top, left + SIDE, top + SIDE))


def open_stereo(name: DatasetName) -> Dataset:
    """77 train tiles and 77 test tiles of 160 x 160 pixels with depth; unlabelled.

    Raises
    ------
    InputError
        scikit-image is not installed, or lacks these files.
    """
    split = bundled_split(name)
    folder = package_folder("skimage", "data")
    for file in (PICTURE, DISPARITY):
        if not Path(folder, file).exists():
            raise InputError(
                f"the installed scikit-image lacks {file}; {reinstalling('scikit-image')}"
            )
    halves = {"train": (0, MIDDLE), "test": (MIDDLE, SIZE[1])}
    ids = [
        f"{top},{left}"
        for half, (first, end) in halves.items()
        if split in (None, half)
        for top in range(0, SIZE[0] - SIDE + 1, STRIDE)
        for left in range(first, end - SIDE + 1, STRIDE)
    ]
    ids.sort(key=hash_key)  # any prefix is a fair sample
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=np.full(len(ids), UNLABELLED, np.int32),
        label_names=[],
        reader=TileReader(folder, "picture"),
        depth_reader=TileReader(folder, "depth"),
    )


@lru_cache(maxsize=1)
def _picture(folder: str) -> Image.Image:
    with Image.open(Path(folder, PICTURE)) as opened:
        return opened.convert("RGB")


@lru_cache(maxsize=1)
def _depth(folder: str) -> np.ndarray:
    """Metres, float32, dims (row, col); NaN where the disparity is unknown."""
    with np.load(Path(folder, DISPARITY), allow_pickle=False) as file:
        disparity = file["arr_0"].astype(np.float64)
    metres = FOCAL * BASELINE / (disparity + OFFSET)
    return np.where(np.isfinite(disparity), metres, np.nan).astype(np.float32)
