"""``bundled:scenes``: rendered objects over real photographs, with exact masks and depth.

600 images of 256 x 256. Each shows two to five flat objects (disc, square, triangle, ring, cross)
of known physical size at known distance in front of a wall. Three cues show the depth: apparent
size is size over distance, nearer objects hide farther ones, and air makes far ones pale. Wall and
surfaces are cut from the photographs of ``bundled:photos``, those of test scenes from its test side
alone; texture and colour are independent of the class. The image id determines every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from feature_store.dataset_name import DatasetName
from workbench.datasets.base import Dataset, bundled_split, hash_key, hash_split
from workbench.datasets.bundled.photos import open_photos

PHOTOS = DatasetName(kind="bundled", name="photos")  # source of walls and surfaces
SIDE = 256  # pixels
COUNT = 600
SHAPES = ["disc", "square", "triangle", "ring", "cross"]
MASKS = ["wall", *SHAPES]
WALL = 10.0  # metres to the wall
NEAR, FAR = 1.5, 8.0  # metres between which objects stand
SIZES = (0.25, 0.6)  # metres, radius of an object
FOCAL = 256.0  # pixels: an object of radius r at distance z has r * FOCAL / z pixels
HAZE = 0.05  # per metre: share of a surface's contrast that air takes


@dataclass(frozen=True)
class Thing:
    """One object: shape number, distance and radius in metres, centre and turn in the image."""

    shape: int
    distance: float
    radius: float
    row: float
    col: float
    angle: float


@dataclass(frozen=True)
class SceneReader:
    """Renders the picture (``part="image"``), its class map or its depth map."""

    part: str

    def __call__(self, image_id: str):
        picture, mask, depth = render(image_id)
        if self.part == "image":
            return Image.fromarray(picture)
        return mask if self.part == "mask" else depth


def open_scenes(name: DatasetName) -> Dataset:
    """Scenes, all of them or one side of the fixed split; labelled by the nearest object."""
    split = bundled_split(name)
    open_photos(PHOTOS)  # absent photographs are refused now rather than while an image is read
    every = [f"scene-{n:04d}" for n in range(COUNT)]
    ids = sorted(hash_split(every, split), key=hash_key)
    labels = [min(things(i), key=lambda thing: thing.distance).shape for i in ids]
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=np.array(labels, np.int32),
        label_names=list(SHAPES),
        reader=SceneReader("image"),
        mask_reader=SceneReader("mask"),
        depth_reader=SceneReader("depth"),
        mask_names=list(MASKS),
    )


def things(image_id: str) -> list[Thing]:
    """The objects of a scene, farthest first."""
    rng = np.random.default_rng(hash_key(image_id))
    found = [
        Thing(
            int(rng.integers(len(SHAPES))),
            float(np.exp(rng.uniform(np.log(NEAR), np.log(FAR)))),
            float(rng.uniform(*SIZES)),
            float(rng.uniform(0.15 * SIDE, 0.85 * SIDE)),
            float(rng.uniform(0.15 * SIDE, 0.85 * SIDE)),
            float(rng.uniform(0, 2 * np.pi)),
        )
        for _ in range(rng.integers(2, 6))
    ]
    return sorted(found, key=lambda thing: -thing.distance)


def render(image_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (uint8 RGB), class map (int32: 0 wall, 1 to 5 shapes) and depth (float32, metres)."""
    rng = np.random.default_rng([1, hash_key(image_id)])
    textures = _textures(image_id in _test_ids())
    picture = _hazed(_cut(textures, rng), WALL)
    mask = np.zeros((SIDE, SIDE), np.int32)
    depth = np.full((SIDE, SIDE), WALL, np.float32)
    for thing in things(image_id):
        inside = silhouette(thing)
        surface = _hazed(0.6 * _cut(textures, rng) + 0.4 * rng.uniform(0, 255, 3), thing.distance)
        picture[inside] = surface[inside]
        mask[inside] = thing.shape + 1
        depth[inside] = thing.distance
    return picture.round().astype(np.uint8), mask, depth


def silhouette(thing: Thing) -> np.ndarray:
    """Whether each pixel is covered by the object: bool, dims (row, col)."""
    row, col = np.mgrid[:SIDE, :SIDE] + 0.5
    scale = thing.radius * FOCAL / thing.distance
    down, right = (row - thing.row) / scale, (col - thing.col) / scale
    x = np.cos(thing.angle) * right + np.sin(thing.angle) * down
    y = np.cos(thing.angle) * down - np.sin(thing.angle) * right
    return outline(thing.shape, x, y)


def outline(shape: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each point is inside a shape of radius 1 around the origin: bool, dims as given."""
    match SHAPES[shape]:
        case "disc":
            return np.hypot(x, y) <= 1
        case "square":
            return np.maximum(abs(x), abs(y)) <= 0.9
        case "triangle":
            return (y <= 0.6) & (y >= 1.8 * abs(x) - 1.0)
        case "ring":
            far = np.hypot(x, y)
            return (far <= 1) & (far >= 0.55)
    return (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 1)  # cross


def _hazed(surface: np.ndarray, distance: float) -> np.ndarray:
    clear = np.exp(-HAZE * distance)
    return clear * surface + (1 - clear) * 235.0


def _cut(textures: tuple[np.ndarray, ...], rng: np.random.Generator) -> np.ndarray:
    """A random square of a random photograph crop, enlarged to the scene: float, RGB."""
    texture = textures[rng.integers(len(textures))]
    side = int(rng.integers(96, min(texture.shape[:2]) + 1))
    top, left = (int(rng.integers(0, n - side + 1)) for n in texture.shape[:2])
    patch = Image.fromarray(texture[top : top + side, left : left + side])
    return np.asarray(patch.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)


@lru_cache(maxsize=2)
def _textures(test: bool) -> tuple[np.ndarray, ...]:
    """60 crops of photographs of one side of the split, a fair share of each photograph."""
    dataset = open_photos(replace(PHOTOS, split="test" if test else "train")).take(60)
    return tuple(dataset.image(row) for row in range(len(dataset)))


@lru_cache(maxsize=1)
def _test_ids() -> frozenset[str]:
    return frozenset(hash_split([f"scene-{n:04d}" for n in range(COUNT)], "test"))
