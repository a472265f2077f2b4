"""Image bytes become RGB, uint8, exactly as Pillow's ``convert("RGB")`` does it.

Pillow is the reference decoder because the published numbers were made with it. Two of its
conventions are worth knowing before reading a result:

* alpha is dropped, not composited;
* the EXIF orientation tag is ignored. The usual evaluation loaders (and so the published numbers)
  ignore it too; pass ``exif_orientation=True`` for photographs straight from a phone.

Greyscale of more than 8 bits is refused where its values do not fit: Pillow would clip them at 255,
which makes most such images white, and round those between 0 and 1 to black.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


class DecodeError(ValueError):
    """One image cannot be read; the caller keeps its row with status ``decode_failed``.

    Parameters
    ----------
    reason : str
        One line that says what was found, also available as ``error.reason``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(source: bytes | Image.Image, *, exif_orientation: bool = False) -> np.ndarray:
    """RGB pixels of an encoded (or already opened) image.

    Parameters
    ----------
    source : bytes or PIL.Image.Image
        An encoded file of any format Pillow reads, or an image opened by someone else. Of an
        animated image the current (for bytes: first) frame is taken.
    exif_orientation : bool
        Rotate or flip as the EXIF orientation tag asks. Off: the published numbers did not.

    Returns
    -------
    numpy.ndarray
        uint8, dims (row, col, 3), C-contiguous and writable, values 0 to 255.

    Raises
    ------
    DecodeError
        Zero bytes, not an image, truncated or damaged data, a size that Pillow treats as a
        decompression bomb, or greyscale whose values 8 bits do not hold.

    Examples
    --------
    >>> from PIL import Image
    >>> decode(Image.new("L", (2, 1), 7)).tolist()
    [[[7, 7, 7], [7, 7, 7]]]
    """
    from PIL import Image, ImageOps

    if isinstance(source, bytes) and not source:
        raise DecodeError("zero bytes: the file is empty")
    try:
        opened = source if isinstance(source, Image.Image) else Image.open(io.BytesIO(source))
        if exif_orientation:
            opened = ImageOps.exif_transpose(opened)
        if opened.mode in ("I", "F") or opened.mode.startswith("I;"):
            _refuse_deep(np.asarray(opened), opened.mode)
        # np.array copies: the pixels must outlive the image and be writable for torch.from_numpy.
        return np.array(opened.convert("RGB"))
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
        raise DecodeError(f"damaged image: {type(error).__name__}: {error}") from error


def _refuse_deep(values: np.ndarray, mode: str) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255) or (0 < high <= 1 and bool((values % 1).any())):
        raise DecodeError(
            f"greyscale of mode {mode} with values from {low:g} to {high:g}, which do not fit "
            "into 8 bits; convert it to 0 to 255"
        )
