"""``view:K:NAME``: another dataset seen through a seeded random crop and flip.

View K of an image is fixed by K and the image id, so a view is extracted, resumed and repeated
like any dataset; ids and labels are those of the dataset below. K = 1, 2, ... are different views.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageOps

from feature_store.dataset_name import DatasetName
from workbench.datasets.base import Dataset, hash_key
from workbench.datasets.decode import Decoding, decode

AREA = (0.2, 1.0)  # share of the image that a crop covers; as in Wu et al. (2018)
ASPECT = (3 / 4, 4 / 3)  # width over height of the crop


@dataclass(frozen=True)
class ViewReader:
    """Reads an image, cuts the crop of its view and flips half of them."""

    below: Callable[[str], bytes | Image.Image]
    decoding: Decoding
    view: int

    def __call__(self, image_id: str) -> Image.Image:
        image = Image.fromarray(decode(self.below(image_id), self.decoding))
        rng = np.random.default_rng([self.view, hash_key(image_id)])
        left, top, width, height = crop_box(image.width, image.height, rng)
        cropped = image.crop((left, top, left + width, top + height))
        return ImageOps.mirror(cropped) if rng.random() < 0.5 else cropped


def crop_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a random crop inside an image of that size, in pixels.

    Area uniform in `AREA`, aspect ratio log-uniform in `ASPECT`; cut to the image where that does
    not fit, so that every draw gives a crop.
    """
    area = width * height * rng.uniform(*AREA)
    aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    w = min(width, max(1, round(math.sqrt(area * aspect))))
    h = min(height, max(1, round(math.sqrt(area / aspect))))
    return int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h


def open_view(name: DatasetName, below: Dataset) -> Dataset:
    """The named view of the dataset below it, without its masks and depth maps.

    Those would no longer lie over the image.
    """
    reader = ViewReader(below.reader, below.decoding, name.view)
    return replace(below, name=str(name), reader=reader, mask_reader=None, depth_reader=None)
