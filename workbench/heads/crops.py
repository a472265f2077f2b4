"""Random crops of images and of their target maps, drawn as in published recipes.

Source: mmsegmentation's training pipelines, with the same steps in the same order (resize, crop
without a dominating class, mirror, photometric distortion, padding). Deviation: colours change
once, in one order, in Pillow's HSV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench.datasets import Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.target_maps import DepthUnit, in_metres
from workbench.heads.config import CropConfig
from workbench.training.batches import Key
from workbench.training.randomness import step_generator

MARGIN = (124, 116, 104)
"""Colour of a crop's pixels beyond the image: ImageNet's mean."""
TRIES = 10
"""Maximum number of draws of a crop without a dominating class."""


@dataclass
class MappedImages:
    """Images of a dataset with their maps; used as a map-style dataset, it gives random crops."""

    dataset: Dataset
    """Dataset with masks or depth maps, each as large as its image."""
    task: str
    """segmentation or depth."""
    crops: CropConfig
    seed: int = 0
    unit: DepthUnit = "m"
    """Unit of the depth maps."""
    classes: int = 0
    """Number of classes: labels at or above it are refused; 0 refuses none."""

    def __getitem__(self, key: Key) -> tuple[np.ndarray, np.ndarray] | str:
        """A crop, or one line on why it cannot be made; reproducible in any process at any time.

        uint8 pixels, dims (row, col, 3), and a map, dims (row, col): int64 classes, -1 = ignored;
        or float32 metres, NaN = unknown.
        """
        step, place, row = key
        try:
            image, truth = self.pair(row)
        except InputError as error:
            return str(error)
        return random_crop(image, truth, self.crops, step_generator(step, self.seed, place + 1))

    def pair(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """An image and its whole map; dims and dtypes as for a crop.

        Raises
        ------
        InputError
            The image cannot be read, or its map has another size or a label outside the classes.
        """
        name = self.dataset.image_ids[row]
        try:
            image = self.dataset.image(row)
            truth = self.truth(row)
        except DecodeError as error:
            raise InputError(f"image {name} cannot be read: {error.reason}") from error
        if truth.shape != image.shape[:2]:
            raise InputError(
                f"the map of {name} has {truth.shape[0]} x {truth.shape[1]} pixels and its image "
                f"{image.shape[0]} x {image.shape[1]}; crops need maps of the image's size"
            )
        return image, truth

    def truth(self, row: int) -> np.ndarray:
        """The target map of an image."""
        if self.task == "depth":
            return in_metres(self.dataset.depth(row), self.unit)
        truth = self.dataset.mask(row).astype(np.int64)
        largest = int(truth.max(initial=-1))
        if self.classes and largest >= self.classes:
            raise InputError(
                f"the mask of {self.dataset.image_ids[row]} holds class {largest}; the dataset "
                f"has classes 0 to {self.classes - 1}"
            )
        return truth


def random_crop(
    image: np.ndarray, truth: np.ndarray, config: CropConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Resize, crop, mirror and recolour an image; its map is resized by nearest neighbour.

    `image` is uint8, dims (row, col, 3); `truth`, dims (row, col), holds int classes, -1 = ignored,
    or float metres, NaN = unknown.

    Returns
    -------
    uint8 array, dims (row, col, 3), and an array of the map's dtype, dims (row, col), both square;
    beyond the resized image they are filled with :data:`MARGIN` and unknown pixels.
    """
    sizes = resized_sides(truth.shape, config, _ratio(config, rng))
    for _ in range(TRIES):
        spans = [_span(size, config.side, rng) for size in sizes]
        index = [
            nearest(span, size, original)
            for span, size, original in zip(spans, sizes, truth.shape, strict=True)
        ]
        seen = truth[np.ix_(*index)]
        if share_of_largest(seen) <= config.most_of_a_class:
            break
    pixels = cut(image, spans, sizes)
    if rng.random() < 0.5:
        pixels, seen = pixels[:, ::-1], seen[:, ::-1]
    if config.colour:
        pixels = recoloured(pixels, rng)
    missing = [(0, config.side - length) for length in seen.shape]
    unknown = -1 if np.issubdtype(truth.dtype, np.integer) else np.nan
    whole = np.empty((config.side, config.side, 3), np.uint8)
    whole[:] = MARGIN
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return whole, np.pad(seen, missing, constant_values=unknown)


def _ratio(config: CropConfig, rng: np.random.Generator) -> float:
    low, high = config.ratios
    if config.ratio_step == 0:
        return float(rng.uniform(low, high))
    return low + config.ratio_step * int(
        rng.integers(round((high - low) / config.ratio_step), endpoint=True)
    )


def resized_sides(shape: tuple[int, ...], config: CropConfig, ratio: float) -> tuple[int, int]:
    """Height and width of an image once its shorter side is resized to `ratio` crops.

    Examples
    --------
    >>> resized_sides((480, 640), CropConfig(side=512), 1.0)
    (512, 683)
    >>> resized_sides((100, 900), CropConfig(side=512), 1.0)  # at most 4 crops long
    (228, 2048)
    """
    longest = config.longest * (ratio if config.longest_follows else 1)
    factor = config.side * min(ratio / min(shape), longest / max(shape))
    height, width = (max(round(factor * side), 1) for side in shape)
    return height, width


def _span(size: int, crop: int, rng: np.random.Generator) -> tuple[int, int]:
    """Random start and end of a crop along one side of the resized image."""
    begin = int(rng.integers(max(size - crop, 0), endpoint=True))
    return begin, min(begin + crop, size)


def nearest(span: tuple[int, int], size: int, original: int) -> np.ndarray:
    """Index of the original pixel under the centre of each pixel in a span of a resized side."""
    return ((np.arange(*span) + 0.5) * original / size).astype(np.int64)


def cut(image: np.ndarray, spans: list[tuple[int, int]], sizes: tuple[int, int]) -> np.ndarray:
    """Part of the resized image (bilinear), computed without resizing the whole image."""
    (top, bottom), (left, right) = spans
    down, across = image.shape[0] / sizes[0], image.shape[1] / sizes[1]
    box = (left * across, top * down, right * across, bottom * down)
    part = Image.fromarray(image).resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR, box=box
    )
    return np.asarray(part)


def share_of_largest(truth: np.ndarray) -> float:
    """Share of the known pixels in the most frequent class; 0 for depth or if none is known."""
    if not np.issubdtype(truth.dtype, np.integer):
        return 0.0
    known = truth[truth >= 0]
    return float(np.bincount(known).max() / len(known)) if len(known) else 0.0


def recoloured(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, each with probability one half.

    Brightness changes by up to 32 of 255, contrast and saturation by factors of 0.5 to 1.5, hue by
    up to a tenth of the circle.
    """
    change = rng.random(4) < 0.5
    shift, contrast = rng.uniform(-32, 32), rng.uniform(0.5, 1.5)
    saturation, hue = rng.uniform(0.5, 1.5), rng.uniform(-0.1, 0.1)
    x = pixels.astype(np.float32)
    x = (x + shift * change[0]) * (contrast if change[1] else 1)
    x = x.clip(0, 255).astype(np.uint8)
    if not change[2:].any():
        return x
    hsv = np.array(Image.fromarray(x).convert("HSV"))
    if change[2]:
        hsv[..., 1] = (hsv[..., 1] * saturation).clip(0, 255)
    if change[3]:
        hsv[..., 0] = hsv[..., 0] + np.uint8(round(hue * 256) % 256)
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
