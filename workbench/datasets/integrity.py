"""Refuse damaged files that Pillow decodes without an error.

libjpeg reports damaged data as a warning, which Pillow drops; Pillow reads no checksum of PNG; and
libtiff returns a strip of TIFF whose checksum is wrong. What is noticed, in per cent of damaged
files, is in ``docs/decoding.md``.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_UNUSUAL = "Could not determine subsampling"
"""Part of simplejpeg's message for sampling factors that it does not know; they are left to Pillow,
unchecked."""
_DEFLATE = (8, 32946)  # values of TIFF's tag Compression
_JPEG_IN_TIFF = 7
_COMPRESSION, _JPEG_TABLES = 259, 347
_OFFSETS_AND_COUNTS = ((273, 279), (324, 325))  # of strips, of tiles


def checked_pixels(data: bytes, opened: Image.Image) -> np.ndarray | None:
    """RGB pixels, where the check of the format decodes them; otherwise None.

    Parameters
    ----------
    data : bytes
        The encoded file.
    opened : PIL.Image.Image
        The same file, opened by Pillow.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    if opened.format in ("JPEG", "MPO"):
        return _jpeg(data, opened.mode)
    if opened.format == "PNG":
        _check_png(data)
    elif opened.format == "TIFF":
        _check_tiff(data, opened)
    return None


def _jpeg(data: bytes, mode: str) -> np.ndarray | None:
    """Decoded by libjpeg with warnings as errors: the pixels of Pillow's ``convert("RGB")``."""
    import simplejpeg

    cmyk = mode == "CMYK"
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace="CMYK" if cmyk else "RGB", strict=True)
    except ValueError as error:
        if _UNUSUAL in str(error):
            return None
        raise
    return None if cmyk else pixels  # Pillow converts CMYK to RGB


def _check_png(data: bytes) -> None:
    """The checksum of every chunk, up to the end of the image."""
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(f"the checksum of PNG chunk {kind!r} at byte {place} is wrong")
        if kind == b"IEND":
            return
        place = end
    raise ValueError(f"the PNG ends after {len(data)} bytes without its last chunk")


def _check_tiff(data: bytes, opened: Image.Image) -> None:
    """Every compressed strip or tile of the first picture."""
    tags = opened.tag_v2  # type: ignore[attr-defined]
    compression = tags.get(_COMPRESSION)
    if compression not in (*_DEFLATE, _JPEG_IN_TIFF):
        return
    tables = tags.get(_JPEG_TABLES, b"")
    for offsets, counts in _OFFSETS_AND_COUNTS:
        places = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=True)
        for number, (offset, count) in enumerate(places):
            part = data[offset : offset + count]
            try:
                _inflate(part) if compression in _DEFLATE else _jpeg(
                    tables[:-2] + part[2:] if tables else part, opened.mode
                )
            except (zlib.error, ValueError) as error:
                raise ValueError(f"strip or tile {number} of the TIFF: {error}") from None


def _inflate(data: bytes) -> None:
    """Decompress in small steps, for the checksum at the end."""
    stream = zlib.decompressobj()
    while not stream.eof:
        if not stream.decompress(data, 1 << 20) and not stream.eof:
            raise ValueError("its compressed data end too early")
        data = stream.unconsumed_tail
