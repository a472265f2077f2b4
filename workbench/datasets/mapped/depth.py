"""NYUv2 and KITTI (split of Eigen et al.), as files or as the published MATLAB file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench.datasets.decode import DecodeError
from workbench.datasets.mapped.layout import Metres, Split, files_below, of_files, require_split
from workbench.datasets.optional import library
from workbench.datasets.table import depth_map

LABELLED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
MILLIMETRES = Metres("NYUv2", 1000, 0.3, 20)
LIDAR = Metres("KITTI", 256, 1, 130)


def nyuv2(root: Path, split: str) -> Split:
    """The official split: train or test.

    ``nyu_depth_v2_labeled.mat`` and ``splits.mat`` (795 and 654 images, raw depth); or the files of
    mmsegmentation: images/SPLIT/NAME.jpg and annotations/SPLIT/NAME.png, millimetres (24,231 and
    654 images). A folder with both is refused.
    """
    require_split(split, ("train", "test"), "nyuv2")
    if (root / LABELLED).is_file():
        if (root / "images" / split).is_dir():
            raise InputError(
                f"{root} holds {LABELLED} and images/{split}, two versions of NYUv2 with other "
                f"images; move one of them elsewhere"
            )
        return _labelled(root, split)
    layout = f"images/SPLIT/NAME.jpg, or {LABELLED} with {SPLITS},"
    images = files_below(root, f"images/{split}", ".jpg", layout)
    maps = {path: f"annotations/{path.removeprefix('images/')[:-4]}.png" for path in images}
    return of_files(root, maps, MILLIMETRES)


def _labelled(root: Path, split: str) -> Split:
    from scipy.io import loadmat  # deferred: 0.3 s

    library("h5py", str(root / LABELLED))
    try:
        numbers = loadmat(root / SPLITS)[f"{split}Ndxs"].ravel().tolist()
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"cannot read the official split in {root / SPLITS}: {error}; it lies beside "
            f"{LABELLED} where that is published"
        ) from None
    ids = [f"{number:04d}" for number in sorted(numbers)]
    paths = dict.fromkeys(ids, LABELLED)
    return Split(
        image_ids=ids, reader=MatImages(str(root), paths), depths=MatDepths(str(root), paths)
    )


@dataclass(frozen=True)
class _Mat:
    """Arrays of the MATLAB file, an image at a time; ids are its numbers, from 1."""

    root: str
    paths: dict[str, str]

    def path(self, image_id: str) -> str:
        """Path of the file."""
        return str(Path(self.root, self.paths[image_id]))

    def _array(self, name: str, image_id: str) -> np.ndarray:
        h5py: Any = library("h5py", self.path(image_id))
        try:
            with h5py.File(self.path(image_id)) as file:
                return file[name][int(image_id) - 1]
        except (OSError, KeyError, ValueError) as error:
            raise DecodeError(f"cannot read {name} in {self.path(image_id)}: {error}") from error


class MatImages(_Mat):
    """Images."""

    def __call__(self, image_id: str) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(self._array("images", image_id).T))


class MatDepths(_Mat):
    """Depth as the sensor gave it, metres, not filled in; as in the usual evaluation."""

    def __call__(self, image_id: str) -> np.ndarray:
        metres = depth_map(np.ascontiguousarray(self._array("rawDepths", image_id).T))
        largest = float(np.nanmax(metres, initial=0))
        if largest > MILLIMETRES.most:
            raise InputError(
                f"image {image_id} of {self.path(image_id)}: its largest depth is {largest:g}; "
                f"NYUv2 stores metres there, at most {MILLIMETRES.most:g}"
            )
        return metres


def kitti(root: Path, split: str) -> Split:
    """Eigen's split of KITTI with depth of the depth-prediction benchmark: train or test.

    The list ``eigen_SPLIT_files_with_gt.txt`` (image, depth or None, focal length); images below
    the root, input/ or raw/; depth below gt_depth/ or data_depth_annotated/ (perhaps in train/ and
    val/). Images without depth are left out.
    """
    require_split(split, ("train", "test"), "kitti")
    table = root / f"eigen_{split}_files_with_gt.txt"
    if not table.is_file():
        raise InputError(f"no {table}, which lists the images of Eigen's split and their depth")
    rows = [line.split() for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    if bad := [row for row in rows if len(row) < 2]:
        raise InputError(
            f"{table} has the line {' '.join(bad[0])!r}; expected an image and a depth"
        )
    maps = {
        _under(root, image, ("", "input/", "raw/")): _under(root, depth, _ANNOTATED)
        for image, depth, *_ in rows
        if depth != "None"
    }
    return of_files(root, maps, LIDAR, without=len(rows) - len(maps))


_ANNOTATED = (
    "gt_depth/", "data_depth_annotated/", "data_depth_annotated/train/",
    "data_depth_annotated/val/",
)  # fmt: skip


def _under(root: Path, path: str, folders: tuple[str, ...]) -> str:
    """The path below the first folder that has it; below the first of all if none has."""
    return next((f"{f}{path}" for f in folders if (root / f / path).is_file()), folders[0] + path)
