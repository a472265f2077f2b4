"""ADE20k, Cityscapes and Pascal VOC, as they are unpacked."""

from __future__ import annotations

from pathlib import Path

from feature_store.errors import InputError
from workbench.datasets.mapped.layout import Classes, Split, files_below, of_files, require_split

CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip
"""Evaluated classes in order, and their numbers in labelIds files. Source: cityscapesScripts."""
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def ade20k(root: Path, split: str) -> Split:
    """``ADEChallengeData2016``: 150 classes; zero, what is none of them, is ignored.

    images/SPLIT/NAME.jpg, annotations/SPLIT/NAME.png, objectInfo150.txt; training or validation.
    """
    require_split(split, ("training", "validation"), "ade20k")
    images = files_below(root, f"images/{split}", ".jpg", "images/SPLIT/NAME.jpg")
    maps = {path: f"annotations/{path.removeprefix('images/')[:-4]}.png" for path in images}
    known = {number: number - 1 for number in range(1, 151)}
    return of_files(root, maps, Classes("ADE20k", known, frozenset({0})), _ade20k_names(root))


def _ade20k_names(root: Path) -> list[str]:
    """First word of each class in ``objectInfo150.txt``, or its number where the file is absent."""
    table = root / "objectInfo150.txt"
    if not table.is_file():
        return [str(number) for number in range(1, 151)]
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    names = [line.split("\t")[-1].partition(",")[0].strip() for line in lines if line.strip()]
    if len(names) != 150:
        raise InputError(f"{table} lists {len(names)} classes, expected 150")
    return names


def cityscapes(root: Path, split: str) -> Split:
    """19 evaluated classes of the labelIds files; the others are ignored.

    leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png, gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png; train
    or val (the test split is published without labels).
    """
    require_split(split, ("train", "val"), "cityscapes")
    ending = "_leftImg8bit.png"
    images = files_below(root, f"leftImg8bit/{split}", ending, "leftImg8bit/SPLIT/CITY/NAME.png")
    maps = {
        path: f"gtFine/{path.removeprefix('leftImg8bit/').removesuffix(ending)}_gtFine_labelIds.png"
        for path in images
    }
    known = {number: place for place, number in enumerate(CITYSCAPES.values())}
    ignored = frozenset({*range(34), 255} - known.keys())
    return of_files(root, maps, Classes("Cityscapes", known, ignored), list(CITYSCAPES))


def voc(root: Path, split: str) -> Split:
    """Pascal VOC 2012: 20 classes and the background; borders (255) are ignored.

    VOCdevkit/VOC2012 below the root, or the root itself, with JPEGImages, SegmentationClass and
    ImageSets/Segmentation/SPLIT.txt; train, val or trainval.
    """
    require_split(split, ("train", "val", "trainval"), "voc")
    inner = root / "VOCdevkit" / "VOC2012"
    root = inner if inner.is_dir() else root
    table = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not table.is_file():
        raise InputError(f"no {table}; expected the layout VOCdevkit/VOC2012 in that folder")
    maps = {
        f"JPEGImages/{name}.jpg": f"SegmentationClass/{name}.png"
        for name in table.read_text(encoding="utf-8").split()
    }
    known = {number: number for number in range(len(VOC))}
    return of_files(root, maps, Classes("Pascal VOC", known, frozenset({255})), list(VOC))
