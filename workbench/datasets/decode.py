"""Image bytes become RGB, uint8: Pillow's ``convert("RGB")``, with a stated policy beside it.

Pillow is the reference decoder because the published numbers were made with it.
``docs/decoding.md`` states what happens to orientation, transparency, colour spaces, 16 bits and
animation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench.datasets.formats import open_raster
from workbench.datasets.integrity import checked_pixels
from workbench.datasets.pixel_bound import PILLOW_PIXELS, usual_pixels

ORIENTATIONS = ("ignore", "exif")
BACKGROUND = (255, 255, 255)
"""Colour that transparent pixels are composited on: white, as on a page."""
_ORIENTATION_TAG = 0x0112


class DecodeError(ValueError):
    """One image cannot be read; the caller keeps its row with status ``decode_failed``.

    Parameters
    ----------
    reason : str
        One line that states what was found, also available as ``error.reason``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How images become pixels."""

    orientation: str = "ignore"
    """EXIF orientation of photographs: ignore (as the published numbers did) or exif (apply)."""
    tolerant: bool = False
    """Keep images whose file is damaged, as far as Pillow decodes them."""
    max_pixels: int | None = None
    """Largest image in pixels; by default as :func:`usual_pixels` for one decoder."""

    def __post_init__(self) -> None:
        if self.orientation not in ORIENTATIONS:
            raise InputError(
                f"orientation is {self.orientation!r}, expected one of {', '.join(ORIENTATIONS)}"
            )
        if self.max_pixels is not None and not 1 <= self.max_pixels <= PILLOW_PIXELS:
            raise InputError(
                f"max_pixels is {self.max_pixels}, expected 1 to {PILLOW_PIXELS} (Pillow's bound)"
            )

    def __str__(self) -> str:
        """As the manifest records it; the bound on pixels changes no value and is left out."""
        orientation = "applied" if self.orientation == "exif" else "ignored"
        return (
            f"Pillow, convert('RGB'), EXIF orientation {orientation}, transparency on white, "
            f"16-bit greyscale / 257, damaged files {'kept' if self.tolerant else 'refused'}"
        )

    @classmethod
    def recorded(cls, text: str) -> Decoding:
        """From a manifest; inverse of ``str`` but for the bound on pixels."""
        return cls(
            orientation="exif" if "orientation applied" in text else "ignore",
            tolerant="damaged files kept" in text,
        )


def decode(source: bytes | Image.Image, decoding: Decoding | None = None) -> np.ndarray:
    """RGB pixels of an encoded (or already opened) image.

    Parameters
    ----------
    source : bytes or PIL.Image.Image
        An encoded file of a format in :mod:`workbench.datasets.formats`, or an image opened by
        another library. Of an animated image the current (for bytes: first) frame is taken.
    decoding : Decoding, optional
        The policy; by default ``Decoding()``.

    Returns
    -------
    numpy.ndarray
        uint8, dims (row, col, 3), C-contiguous and writable, values 0 to 255.

    Raises
    ------
    DecodeError
        Zero bytes, not an image, truncated or damaged data, too many pixels, or greyscale of more
        than 16 bits.

    Examples
    --------
    >>> from PIL import Image
    >>> decode(Image.new("L", (2, 1), 7)).tolist()
    [[[7, 7, 7], [7, 7, 7]]]
    """
    if isinstance(source, bytes) and not source:
        raise DecodeError("zero bytes: the file is empty")
    decoding = decoding or Decoding()
    try:
        opened = open_within(source, decoding)
        pixels = None
        if isinstance(source, bytes) and not decoding.tolerant:
            pixels = checked_pixels(source, opened)
        if pixels is None:
            pixels = _rgb(opened)
        return upright(pixels, opened) if decoding.orientation == "exif" else pixels
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise DecodeError(f"decompression bomb: {error}") from error
    except Image.UnidentifiedImageError as error:
        assert isinstance(source, bytes)
        head = source[:8].hex(" ")
        raise DecodeError(f"not an image: {len(source)} bytes that begin {head}") from error
    # Damaged files make Pillow's plugins raise nearly anything (SyntaxError, struct.error,
    # KeyError, MemoryError, ...); each of them means the same to a run over a million images.
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise DecodeError(f"damaged image: {line}") from error


def upright(pixels: np.ndarray, opened: Image.Image) -> np.ndarray:
    """Pixels turned and mirrored as the image's EXIF orientation tag asks."""
    tag = opened.getexif().get(_ORIENTATION_TAG, 1)
    if tag in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if tag in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if tag in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def open_within(source: bytes | Image.Image, decoding: Decoding) -> Image.Image:
    """The opened image, not yet decoded; refused where it has too many pixels."""
    opened = open_raster(source) if isinstance(source, bytes) else source
    width, height = opened.size
    bound = decoding.max_pixels or usual_pixels()
    if width * height > bound:
        raise DecodeError(
            f"{width} x {height} pixels, expected at most {bound} in all; give more with "
            "--max-pixels, or fewer --workers"
        )
    return opened


def _rgb(opened: Image.Image) -> np.ndarray:
    if opened.mode in ("I", "F") or opened.mode.startswith("I;"):
        grey = _eight_bits(opened)
        return np.repeat(grey[..., None], 3, axis=-1)
    if opened.has_transparency_data:
        over = opened.convert("RGBA")
        page = Image.new("RGBA", over.size, BACKGROUND)
        opened = Image.alpha_composite(page, over)
    # np.array copies: the pixels must outlive the image and be writable for torch.from_numpy.
    return np.array(opened.convert("RGB"))


def _eight_bits(opened: Image.Image) -> np.ndarray:
    """16-bit greyscale v as v / 257, rounded: 65535 becomes 255, whatever the image contains."""
    values = np.asarray(opened)
    sixteen = opened.mode.startswith("I;16") or opened.format in ("PNG", "PPM")
    if not sixteen or opened.mode == "F":
        raise DecodeError(
            f"greyscale of mode {opened.mode} with values from {values.min():g} to "
            f"{values.max():g}; its white is unknown: convert it to 8 or 16 bits"
        )
    return ((values.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8)
