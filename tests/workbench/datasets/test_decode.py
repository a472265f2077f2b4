"""Decoding equals Pillow's ``convert("RGB")`` for every mode, and every damage is a DecodeError."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from workbench.datasets.decode import DecodeError, decode

RNG = np.random.default_rng(0)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(mode: str) -> Image.Image:
    colour = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    return colour.convert(mode)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("RGB", "PNG"),
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("L", "PNG"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_every_mode_becomes_rgb_as_pillow_does(mode, form):
    data = encoded(noise(mode), form)
    with Image.open(io.BytesIO(data)) as reference:
        expected = np.asarray(reference.convert("RGB"))
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (9, 7, 3)
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)


def test_alpha_is_dropped_not_composited():
    data = encoded(Image.new("RGBA", (2, 2), (10, 20, 30, 0)), "PNG")
    assert (decode(data) == [10, 20, 30]).all()


def test_sixteen_bit_greyscale_within_eight_bits_is_read():
    deep = Image.fromarray(np.array([[0, 100, 255]], np.uint16))
    assert decode(encoded(deep, "PNG"))[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 256, 65535]], np.uint16), "mode I;16 with values from 0 to 65535"),
        (np.array([[0, -1]], np.int32), "mode I with values from -1 to 0"),
        (np.array([[0, 0.5]], np.float32), "mode F with values from 0 to 0.5"),
        (np.array([[0, np.nan]], np.float32), "mode F with values from nan"),
    ],
)
def test_greyscale_that_eight_bits_do_not_hold_is_refused(values, said):
    with pytest.raises(DecodeError, match=said):
        decode(encoded(Image.fromarray(values), "TIFF"))


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data) == [255, 0, 0]).all()


def test_exif_orientation_is_ignored_unless_asked():
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by a quarter turn
    data = encoded(Image.new("RGB", (6, 3)), "JPEG", exif=exif)
    assert decode(data).shape == (3, 6, 3)
    assert decode(data, exif_orientation=True).shape == (6, 3, 3)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + b"\0\0\0\0IDAT"
    )


JPEG = encoded(noise("RGB").resize((64, 64)), "JPEG")
PNG = encoded(noise("RGB").resize((64, 64)), "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"hello, this is text", "not an image: 19 bytes that begin 68 65"),
        (JPEG[: len(JPEG) // 2], "damaged image: OSError"),
        (PNG[: len(PNG) // 2], "damaged image: OSError"),
        (PNG[:20], "damaged image|not an image"),
        (png_header(60000, 60000), "decompression bomb"),
    ],
)
def test_damage_is_a_decode_error_with_its_reason(data, reason):
    with pytest.raises(DecodeError, match=reason) as caught:
        decode(data)
    assert "\n" not in caught.value.reason


def test_flipped_bytes_never_raise_anything_else():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        data = bytearray(PNG if seed % 2 else JPEG)
        for position in rng.integers(0, len(data), 8):
            data[position] = rng.integers(256)
        with contextlib.suppress(DecodeError):
            assert decode(bytes(data)).dtype == np.uint8
