"""From a decoded image to the pixels that a model sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench.datasets.decode import DecodeError

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
LARGEST = 2**28
"""Largest resized image in pixels (768 MB). Pillow refuses files of more than 1.8e8 pixels."""


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
    """``centre`` or ``squash``; ``pad`` is :class:`Padded`'s."""
    interpolation: str = "bicubic"
    """Pillow's filter: nearest, bilinear, bicubic or lanczos."""
    antialias: bool = True
    """Pillow's filters widen when they shrink an image; always true, recorded for the manifest."""

    def __post_init__(self) -> None:
        if self.mode not in ("centre", "squash", "pad"):
            raise InputError(f"transform mode {self.mode!r}; expected centre, squash or pad")
        if self.interpolation not in INTERPOLATIONS:
            choices = ", ".join(INTERPOLATIONS)
            raise InputError(f"interpolation {self.interpolation!r}; expected one of {choices}")

    @classmethod
    def recorded(cls, record: Mapping[str, Any], native: int, name: str) -> Transform:
        """The evaluation transform of a timm or open_clip record, at the native size in use."""
        modes = {"center": "centre", "shortest": "centre", "squash": "squash"}
        mode = record.get("crop_mode") or record.get("resize_mode") or "center"
        if mode not in modes:
            raise InputError(f"{name} asks for {mode!r} images; supported: {', '.join(modes)}")
        return cls(
            height=native,
            width=native,
            resize_ratio=1.0 / record.get("crop_pct", 1.0),
            mode=modes[mode],
            interpolation=record.get("interpolation") or "bicubic",
        )

    def record(self) -> dict[str, Any]:
        """The fields as a manifest has them, in types that JSON has; inverse of :meth:`stored`."""
        found = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}

    @staticmethod
    def stored(record: Mapping[str, Any]) -> Transform:
        """The transform that a manifest records."""
        kind = Padded if "fill" in record else Transform
        return kind(**{field.name: record[field.name] for field in fields(kind)})

    def padded(self, mean: tuple[float, float, float]) -> Padded:
        """The whole image at the same size, see :class:`Padded`; margins have the model's mean."""
        return Padded(
            height=self.height,
            width=self.width,
            mode="pad",
            interpolation=self.interpolation,
            fill=tuple(int(value * 255) for value in mean),
        )

    def at(self, height: int, width: int) -> Transform:
        """The transform of a ``raw`` scale: the same field of view at another size."""
        return replace(self, height=height, width=width)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Resize and crop an RGB image of any size to uint8, dims (height, width, 3).

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
class Padded(Transform):
    """The whole image: margins make it as wide in proportion as the result, then it is resized.

    Nothing is cut off. Source: ``expand2square`` of LLaVA-1.5, which LLaVA applies to every image
    ("pad"); margins have the mean colour of the model, and the image lies in the middle.
    """

    fill: tuple[int, ...]
    """Colour of the margins, RGB."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "fill", tuple(self.fill))  # a manifest has lists

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Pad, then resize; dims and errors as :meth:`Transform.__call__`."""
        wide = max(image.width, math.ceil(image.height * self.width / self.height))
        high = max(image.height, math.ceil(image.width * self.height / self.width))
        if wide * high > LARGEST:
            raise DecodeError(
                f"too large once padded: {image.width} x {image.height} would become "
                f"{wide} x {high}"
            )
        whole = Image.new("RGB", (wide, high), self.fill)
        whole.paste(image, ((wide - image.width) // 2, (high - image.height) // 2))
        resized = whole.resize((self.width, self.height), INTERPOLATIONS[self.interpolation])
        return np.array(resized, dtype=np.uint8)
