"""Damaged files are refused, and the strict decoders give the pixels of Pillow."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.datasets.decode import DecodeError, Decoding, decode

TOLERANT = Decoding(tolerant=True)
CLOTH = Path(
    next(iter(find_spec("conformal_clip_data").submodule_search_locations)),
    "data/textile_images/simulated/nominal",
)
PHOTOS = Path(next(iter(find_spec("skimage").submodule_search_locations)), "data")


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photograph(side=160):
    with Image.open(PHOTOS / "coffee.png") as image:
        return image.convert("RGB").resize((side, side))


JPEGS = [*sorted(PHOTOS.glob("*.jpg")), *sorted(CLOTH.glob("*.jpg"))[:20]]


@pytest.mark.parametrize("path", JPEGS, ids=lambda path: path.name)
def test_strictly_decoded_photographs_have_the_pixels_of_pillow(path):
    data = path.read_bytes()
    np.testing.assert_array_equal(decode(data), by_pillow(data))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"quality": 5},
        {"restart_marker_blocks": 2},
        {"optimize": True, "keep_rgb": True},
        *({"subsampling": kind} for kind in ("4:4:4", "4:2:2", "4:2:0")),
    ],
    ids=str,
)
def test_every_kind_of_jpeg_has_the_pixels_of_pillow(mode, options):
    if "keep_rgb" in options and mode != "RGB":
        options = options | {"keep_rgb": False}
    data = encoded(photograph(149).convert(mode), "JPEG", **options)
    np.testing.assert_array_equal(decode(data), by_pillow(data))


def damaged(data, how, seed):
    middle = len(data) // 2
    new = np.random.default_rng(seed).bytes(200) if how == "random" else bytes(400)
    return data[:middle] + new + data[middle + len(new) :]


def noticed(files, how):
    count = 0
    for seed, data in enumerate(files):
        try:
            decode(damaged(data, how, seed))
        except DecodeError:
            count += 1
    return count


@pytest.mark.parametrize(("how", "least"), [("random", 18), ("zeros", 13)])
def test_damaged_jpegs_are_noticed(how, least):
    files = [path.read_bytes() for path in JPEGS[-20:]]
    assert noticed(files, how) >= least


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
    ids=str,
)
def test_damaged_files_with_redundancy_are_all_noticed(form, options):
    image = photograph()
    file = encoded(image.quantize(256) if form == "GIF" else image, form, **options)
    decode(file)
    for how in ("random", "zeros"):
        assert noticed([file] * 5, how) == 5


def test_one_bit_of_a_png_is_noticed():
    data = bytearray(encoded(photograph(), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(DecodeError, match="checksum of PNG chunk b'IDAT'"):
        decode(bytes(data))


def test_a_png_without_its_end_is_refused():
    data = encoded(photograph(), "PNG")
    with pytest.raises(DecodeError, match="without its last chunk"):
        decode(data[:-12])
    assert decode(data[:-12], TOLERANT).shape == (160, 160, 3)


def test_one_bit_of_a_jpeg_in_a_tiff_is_noticed_in_most_places():
    whole = encoded(photograph(), "TIFF", compression="jpeg")
    np.testing.assert_array_equal(decode(whole), by_pillow(whole))
    assert noticed([whole] * 5, "random") >= 4


def test_tolerant_keeps_damaged_files_as_pillow_decodes_them():
    for data in (damaged(p.read_bytes(), "zeros", 0) for p in JPEGS[-3:]):
        np.testing.assert_array_equal(decode(data, TOLERANT), by_pillow(data))
