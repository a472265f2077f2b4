"""``bundled:specks``: small bright shapes over real photographs, as many as a training needs.

Each image of 128 x 128 shows six shapes of one class (disc, square, triangle, ring, cross), with
areas of rings with radii of 6 to 14 pixels, in front of a darkened part of a real photograph.
Colour, place, tilt and area say nothing about the class: only outlines of a few pixels do, so that
the scale at which an image is seen decides what can be told. Test images have photographs of their
own. The image id determines every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from feature_store.dataset_name import DatasetName
from workbench.datasets.base import Dataset, bundled_split, hash_key
from workbench.datasets.bundled.photos import open_photos
from workbench.datasets.bundled.scenes import PHOTOS, SHAPES, outline

SIDE = 128  # pixels
COUNTS = {"train": 500_000, "test": 2_000}
THINGS = 6
RADII = (6.0, 14.0)  # pixels, drawn evenly on a logarithmic scale
AREAS = (3.14, 3.24, 1.42, 2.19, 2.04)  # of each shape with radius 1
TILT = 0.3  # radians, at most
BRIGHT = (190.0, 255.0)  # of shapes, in each colour channel
DARKENED = (0.5 * np.arange(256)).round().astype(np.uint8)  # brightness of the photograph
TEXTURES = 240


@dataclass(frozen=True)
class SpeckReader:
    """Image id ``SIDE-NUMBER`` to its picture."""

    def __call__(self, image_id: str) -> Image.Image:
        return Image.fromarray(render(image_id))


def open_specks(name: DatasetName) -> Dataset:
    """Images, all of them or one side of the fixed split; classes alternate, so that any first few
    are a fair sample."""
    split = bundled_split(name)
    open_photos(PHOTOS)  # absent photographs are refused now rather than while an image is read
    sides = [split] if split else list(COUNTS)
    ids = [f"{side}-{n:06d}" for side in sides for n in range(COUNTS[side])]
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=np.array([label_of(image_id) for image_id in ids], np.int32),
        label_names=list(SHAPES),
        reader=SpeckReader(),
    )


def label_of(image_id: str) -> int:
    """Number of the class."""
    return int(image_id.rpartition("-")[2]) % len(SHAPES)


def render(image_id: str) -> np.ndarray:
    """The picture: uint8, dims (row, col, 3)."""
    rng = np.random.default_rng(hash_key(image_id))
    picture = _background(_textures(image_id.partition("-")[0]), rng)
    for _ in range(THINGS):
        radius = float(np.exp(rng.uniform(*np.log(RADII))))
        radius *= (AREAS[SHAPES.index("ring")] / AREAS[label_of(image_id)]) ** 0.5
        row, col = rng.uniform(radius, SIDE - radius, 2)
        angle = rng.uniform(-TILT, TILT)
        top, left = int(row - radius), int(col - radius)
        part = picture[top : int(row + radius) + 2, left : int(col + radius) + 2]
        down, right = (
            (np.arange(n)[:, None] + 0.5 + first - centre) / radius
            for n, first, centre in zip(part.shape[:2], (top, left), (row, col), strict=True)
        )
        x = np.cos(angle) * right.T + np.sin(angle) * down
        y = np.cos(angle) * down - np.sin(angle) * right.T
        part[outline(label_of(image_id), x, y)] = rng.uniform(*BRIGHT, 3).round()
    return picture


def _background(textures: tuple[np.ndarray, ...], rng: np.random.Generator) -> np.ndarray:
    """A random square of a random photograph, darkened: uint8, dims (SIDE, SIDE, 3)."""
    texture = textures[rng.integers(len(textures))]
    side = int(rng.integers(96, min(texture.shape[:2]) + 1))
    top, left = (int(rng.integers(0, n - side + 1)) for n in texture.shape[:2])
    patch = Image.fromarray(texture[top : top + side, left : left + side])
    resized = patch.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return DARKENED[np.asarray(resized)]


@lru_cache(maxsize=2)
def _textures(side: str) -> tuple[np.ndarray, ...]:
    """Crops of the photographs of one side of their split, a fair share of each photograph."""
    dataset = open_photos(replace(PHOTOS, split=side)).take(TEXTURES)
    return tuple(dataset.image(row) for row in range(len(dataset)))
