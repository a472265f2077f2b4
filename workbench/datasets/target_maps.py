"""Masks and depth maps in the geometry in which a model saw the images."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from feature_store import FeatureStore
from feature_store.errors import InputError
from workbench.datasets.base import Dataset
from workbench.datasets.pictures import recorded_transform
from workbench.datasets.registry import open_of
from workbench.models.transform import Padded, Transform

DepthUnit = Literal["m", "mm"]
Crop = Literal["none", "nyu", "kitti"]
CROPS = {
    "nyu": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
    "kitti": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}
"""Top, bottom, left and right of the crops of Eigen et al. (2014), as shares of the map's sides."""
MOST_METRES = 1000.0
"""Larger depths are taken for millimetres: no camera measures them."""
LEAST_MILLIMETRES = 100.0
"""A map whose largest depth is smaller is taken for metres."""


def source_pixels(transform: Transform, height: int, width: int) -> np.ndarray:
    """For each pixel a model sees, the pixel of the original image that lies under it.

    The model's own transform is applied, with nearest-neighbour interpolation, to a picture whose
    colours spell each pixel's number in base 256; so whatever resizing and cropping it does, the
    maps follow, without a second implementation of its geometry.

    Parameters
    ----------
    transform : Transform
        Transform of the model.
    height, width : int
        Size of the original image; fewer than 2**24 - 1 pixels.

    Returns
    -------
    int64 array, dims (row, col) of the transformed image
        Index into the flattened original, -1 outside of it.
    """
    number = np.arange(1, height * width + 1).reshape(height, width)  # 0 = outside
    digits = np.stack([number >> 16, number >> 8 & 255, number & 255], -1).astype(np.uint8)
    nearest = replace(transform, interpolation="nearest")
    if isinstance(nearest, Padded):
        nearest = replace(nearest, fill=(0, 0, 0))
    seen = nearest(Image.fromarray(digits)).astype(np.int64)
    return (seen[..., 0] << 16 | seen[..., 1] << 8 | seen[..., 2]) - 1


@dataclass
class AlignedMaps:
    """Maps of a dataset's images as a model saw them, read on access.

    ``maps[row]`` has dims (row, col).
    """

    read: Callable[[int], np.ndarray]
    """Dataset row -> map, dims (row, col): :meth:`Dataset.mask` or :meth:`Dataset.depth`."""
    count: int
    """Images."""
    transform: Transform
    """Transform of the model."""
    outside: float
    """Value of pixels beyond the original: -1 for masks, NaN for depth."""
    unit: DepthUnit | None = None
    """Unit of depth maps; None for masks."""
    crop: Crop = "none"
    """Part of the original depth map that is known; the rest counts as unknown."""
    _under: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> np.ndarray:
        values = self.read(row)
        if self.unit is not None:
            values = cropped(in_metres(values, self.unit), self.crop)
        if values.shape not in self._under:  # only the last shape: a dataset may have thousands
            self._under = {values.shape: source_pixels(self.transform, *values.shape)}
        index = self._under[values.shape]
        seen = values.ravel()[np.maximum(index, 0)]
        return np.where(index < 0, np.asarray(self.outside, values.dtype), seen)


def in_metres(depth: np.ndarray, unit: DepthUnit) -> np.ndarray:
    """A depth map in metres.

    Parameters
    ----------
    depth : float array, dims (row, col)
        NaN = unknown.
    unit : {"m", "mm"}

    Raises
    ------
    InputError
        Values that are too large for metres, or too small for millimetres.
    """
    largest = float(np.nanmax(depth, initial=-np.inf))
    if unit == "m" and largest > MOST_METRES:
        raise InputError(
            f"a depth map holds {largest:g}, expected at most {MOST_METRES:g} metres; for "
            f"millimetres give --depth-unit mm"
        )
    if unit == "mm" and 0 < largest < LEAST_MILLIMETRES:
        raise InputError(
            f"the largest value of a depth map is {largest:g}, expected at least "
            f"{LEAST_MILLIMETRES:g} millimetres; for metres leave out --depth-unit mm"
        )
    return depth / np.float32(1000) if unit == "mm" else depth


def cropped(depth: np.ndarray, crop: Crop) -> np.ndarray:
    """A depth map that is unknown outside of a published evaluation crop.

    Parameters
    ----------
    depth : float array, dims (row, col)
    crop : {"none", "nyu", "kitti"}

    Examples
    --------
    >>> int(np.isfinite(cropped(np.ones((480, 640), np.float32), "nyu")).sum()) == 426 * 560
    True
    """
    if crop == "none":
        return depth
    height, width = depth.shape
    top, bottom, left, right = CROPS[crop]
    rows = slice(round(top * height), round(bottom * height))
    cols = slice(round(left * width), round(right * width))
    kept = np.full_like(depth, np.nan)
    kept[rows, cols] = depth[rows, cols]
    return kept


def targets_for(
    store: FeatureStore,
    source: str,
    task: str,
    depth_unit: DepthUnit = "m",
    crop: Crop = "none",
) -> AlignedMaps:
    """Maps of a store's images as the source's model saw them, read on access.

    Parameters
    ----------
    store : FeatureStore
        Its dataset is opened by name and must have masks or depth.
    source : str
        Source whose transform the maps follow (from the manifest of its first scale).
    task : {"segmentation", "depth"}
    depth_unit : {"m", "mm"}
        Unit of the dataset's depth maps.
    crop : {"none", "nyu", "kitti"}
        See :func:`cropped`.

    Returns
    -------
    AlignedMaps
        One for each row: int32 classes (-1 = ignored) or float32 metres (NaN = unknown).

    Raises
    ------
    InputError
        No maps in that dataset, or images of the store that it no longer has.
    """
    transform = recorded_transform(store, source)
    ordered = open_of(store).ordered_as(store.image_ids, store.path)
    masks = task == "segmentation"
    read = ordered.mask if masks else ordered.depth
    if (ordered.mask_reader if masks else ordered.depth_reader) is None:
        read(0)  # refuses now, rather than after the training
    outside = -1 if masks else np.nan
    return AlignedMaps(read, len(ordered), transform, outside, None if masks else depth_unit, crop)


def images_sha256(dataset: Dataset) -> str:
    """Hash of size and time of change of the files of a dataset's images; no image is read.

    Images without a file of their own count by their id alone.
    """
    digest = hashlib.sha256()
    for row, image_id in enumerate(dataset.image_ids):
        digest.update(f"{image_id}\0{dataset.file(row)}\0".encode())
    return digest.hexdigest()


def maps_sha256(store: FeatureStore, task: str) -> str:
    """Hash of the files or the code behind the maps of a store's images; no map is read.

    Files count with their path, size and time of change: a corrected mask changes the hash, and so
    does a copied folder. Maps that are made by this package count with the code that makes them.

    Parameters
    ----------
    store : FeatureStore
        Its dataset is opened by name.
    task : {"segmentation", "depth"}

    Raises
    ------
    InputError
        The dataset cannot be opened.
    """
    return files_sha256(open_of(store), store.image_ids, task)


def files_sha256(dataset: Dataset, image_ids: Iterable[str], task: str) -> str:
    """:func:`maps_sha256` of some images of a dataset."""
    reader = dataset.mask_reader if task == "segmentation" else dataset.depth_reader
    paths = getattr(reader, "paths", None)
    digest = hashlib.sha256()
    if paths is None:
        digest.update(Path(inspect.getfile(type(reader))).read_bytes() if reader else b"")
    else:
        for image_id in map(str, image_ids):
            path = Path(reader.root, paths.get(image_id, ""))  # type: ignore[union-attr]
            found = path.stat() if path.is_file() else None
            facts = (found.st_size, found.st_mtime_ns) if found else "gone"
            digest.update(f"{image_id}\0{paths.get(image_id)}\0{facts}\0".encode())
    return digest.hexdigest()
