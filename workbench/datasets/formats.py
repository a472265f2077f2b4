"""The raster formats that are read. Nothing else is handed to Pillow.

Pillow also opens formats that start other programs (EPS starts Ghostscript) or that name a file
without decoding it, whatever the file's extension. These are never tried.
"""

from __future__ import annotations

import functools
import importlib
import io

from PIL import Image

RASTER = (
    "JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF", "JXL", "ICO",
    "ICNS", "DIB", "DDS", "PCX", "PSD", "QOI", "SGI", "SUN", "TGA",
)  # fmt: skip
"""Pillow's names of the formats, in the order in which they are tried."""
PLUGINS = {"pillow_heif": "register_heif_opener", "pillow_jxl": None}
"""Optional package that reads further formats -> its function that registers them."""
NOT_PICTURES = {".pfm"}
"""Extensions of these formats that mean depth or flow, stored beside the pictures."""


@functools.cache
def readable() -> tuple[str, ...]:
    """The formats of `RASTER` that this installation decodes."""
    Image.init()
    for package, register in PLUGINS.items():
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        if register is not None:
            getattr(module, register)()
    return tuple(name for name in RASTER if name in Image.OPEN)


@functools.cache
def extensions() -> frozenset[str]:
    """File extensions of the readable formats, in lower case with their dot."""
    names = {*readable(), "MPO"}  # several JPEGs in one file; the first is the picture
    known = Image.registered_extensions().items()
    return frozenset(end for end, name in known if name in names) - NOT_PICTURES


def open_raster(data: bytes) -> Image.Image:
    """An image of a readable format, with its header read and its pixels not yet decoded."""
    return Image.open(io.BytesIO(data), formats=readable())
