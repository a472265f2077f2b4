"""What is known about a model before it runs: transform, geometry, provenance; and its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench.datasets.decode import DecodeError

if TYPE_CHECKING:
    import torch

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


LARGEST = 2**28
"""Pixels of a resized image at most; 768 MB. Pillow refuses files of more than 1.8e8 pixels."""


class Tokens(NamedTuple):
    """One scale's output of a backbone, float32.

    ``prefix`` is (image, prefix, channel), with size 0 along ``prefix`` for models without class
    or register tokens; ``map`` is (image, row, col, channel).
    """

    prefix: torch.Tensor
    map: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Transform:
    """From a decoded RGB image to the pixels a model sees, fully resolved; JSON-able fields only.

    ``centre``: the image is resized until the crop covers ``1 / resize_ratio`` of it (short side
    at ``crop × resize_ratio`` for square crops), then cropped at the centre. ``squash``: each side
    is resized to ``crop × resize_ratio``, aspect ratio ignored, then cropped likewise. Sides are
    rounded down, as timm does.
    """

    height: int
    """Height of the result in pixels."""
    width: int
    """Width of the result in pixels."""
    resize_ratio: float = 1.0
    """Side of the resized image over side of the crop (256 / 224 for the bundled family)."""
    mode: str = "centre"
    """``centre`` or ``squash``."""
    interpolation: str = "bicubic"
    """Pillow's filter: nearest, bilinear, bicubic or lanczos."""
    antialias: bool = True
    """Pillow's filters widen when they shrink an image; always true, recorded for the manifest."""

    def __post_init__(self) -> None:
        if self.mode not in ("centre", "squash"):
            raise InputError(f"transform mode {self.mode!r}; expected centre or squash")
        if self.interpolation not in INTERPOLATIONS:
            choices = ", ".join(INTERPOLATIONS)
            raise InputError(f"interpolation {self.interpolation!r}; expected one of {choices}")

    def at(self, height: int, width: int) -> Transform:
        """The same field of view at another size: what a ``raw`` scale is read with."""
        return replace(self, height=height, width=width)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Resize and crop.

        Parameters
        ----------
        image : PIL.Image.Image
            Mode RGB, any size of at least 1 x 1.

        Returns
        -------
        np.ndarray
            (height, width, 3), uint8.

        Raises
        ------
        DecodeError
            It would be resized to more than `LARGEST` pixels, as one that is long and thin.
        """
        if self.mode == "squash":
            size = self._scaled(self.width), self._scaled(self.height)
        else:
            size = self._covering(image.width, image.height)
        if size[0] * size[1] > LARGEST:
            raise DecodeError(
                f"too large once resized: {image.width} x {image.height} would be resized to "
                f"{size[0]} x {size[1]}"
            )
        left = round((size[0] - self.width) / 2.0)
        top = round((size[1] - self.height) / 2.0)
        resized = image.resize(size, INTERPOLATIONS[self.interpolation])
        box = (left, top, left + self.width, top + self.height)
        return np.array(resized.crop(box), dtype=np.uint8)

    def _covering(self, width: int, height: int) -> tuple[int, int]:
        """Size (width, height) at which the crop covers 1 / resize_ratio of the tighter side."""
        by_width = self.width * height <= self.height * width  # image is wider than the crop
        side = self._scaled(self.height if by_width else self.width)
        if by_width:
            return max(int(side * width / height), self.width), side
        return side, max(int(side * height / width), self.height)

    def _scaled(self, side: int) -> int:
        """Side of the resized image over one side of the crop; 224 / 0.875 is 256 and not less."""
        return math.floor(side * self.resize_ratio + 1e-6)


@dataclass(frozen=True, kw_only=True)
class BackboneInfo:
    """One model at one tap, known without its weights."""

    name: str
    """The model name as given, such as ``bundled:efficientnet_lite0``."""
    tap: str
    """Where features are read."""
    native: int
    """Side in pixels of the square crops the model runs on."""
    grid: tuple[int, int]
    """Rows and columns of the map at the native size."""
    channels: int
    """Channels per token."""
    prefix: int
    """Class and register tokens kept per crop."""
    stride: int
    """Pixels per token along one side (the patch size for ViTs)."""
    mean: tuple[float, float, float]
    """Per-channel mean subtracted from pixels in [0, 1]."""
    std: tuple[float, float, float]
    """Per-channel divisor."""
    transform: Transform
    """Resize and crop to the native size."""
    pretrained: bool
    """False for ``random:`` models."""
    weights_from: str
    """The package, hub repository, address or file the weights come from."""
    revision: str | None = None
    """Commit of the hub repository; known once the weights are loaded from there."""
    taps: tuple[str, ...]
    """Every tap of this model; the first is its default."""
    convnet: bool
    """True: the model works on maps (run in channels_last); False: on a token sequence."""
    flexible: bool
    """True: images of other sizes than native can run whole."""
    params: int
    """Parameters of the image model, classification head included."""

    def grid_at(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the map when one image of ``height`` x ``width`` runs whole."""
        if not self.convnet:
            return height // self.stride, width // self.stride
        from workbench.models import registry

        return registry.grid_at(self.name, self.tap, height, width)


@dataclass(frozen=True, kw_only=True)
class Built:
    """An architecture on the meta device with what its library says about it; made per family."""

    module: Any
    """The torch module without weights."""
    load: Callable[[], tuple[Any, str | None]]
    """Builds the module with its weights; also the hub revision they came from, if any."""
    reader: Callable[[Any, str], Callable[[torch.Tensor], Tokens]]
    """From a module (with weights or without) and a tap to the function that reads it."""
    taps: tuple[str, ...]
    """Taps in order; the first is the default."""
    missing: dict[str, str]
    """Taps that a user may expect and this model lacks, each with the reason."""
    native: int
    """Side of the native input in pixels."""
    transform: Transform
    """Resize and crop to the native size."""
    mean: tuple[float, float, float]
    """Per-channel mean."""
    std: tuple[float, float, float]
    """Per-channel divisor."""
    convnet: bool
    """True for models on maps."""
    weights_from: str
    """Provenance of the weights."""
