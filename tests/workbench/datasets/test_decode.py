"""Decoding equals Pillow's ``convert("RGB")`` for every mode, and every damage is a DecodeError."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from feature_store.errors import InputError
from workbench.datasets import pixel_bound
from workbench.datasets.decode import DecodeError, Decoding, decode

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


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparent_pixels_are_white_whatever_colour_they_hide(mode):
    image = Image.new("RGBA", (2, 1), (10, 10, 10, 0))
    image.putpixel((1, 0), (10, 10, 10, 255))
    if mode in ("RGBA", "LA"):
        data = encoded(image.convert(mode), "PNG")
    else:
        hidden = Image.new(mode, (2, 1), (7, 7, 7) if mode == "RGB" else 7)
        hidden.putpixel((1, 0), (10, 10, 10) if mode == "RGB" else 10)
        if mode == "P":
            hidden.putpalette([v for v in range(256) for _ in range(3)])
        data = encoded(hidden, "PNG", transparency=(7, 7, 7) if mode == "RGB" else 7)
    assert decode(data)[0, :, 0].tolist() == [255, 10]


def test_half_transparency_is_mixed_with_white():
    data = encoded(Image.new("RGBA", (1, 1), (0, 100, 200, 51)), "PNG")  # a fifth
    assert decode(data).tolist() == [[[204, 224, 244]]]


@pytest.mark.parametrize(
    ("values", "form"),
    [([0, 1, 128, 129, 255, 256, 65535], "PNG"), ([0, 1, 128, 129, 255, 256, 65535], "TIFF")],
)
def test_sixteen_bit_greyscale_is_divided_by_257(values, form):
    deep = np.array([values], np.uint16)
    expected = np.round(deep[0] / 257).astype(int).tolist()
    pixels = decode(encoded(Image.fromarray(deep), form))
    assert pixels[0, :, 0].tolist() == expected == [0, 0, 0, 1, 1, 1, 255]
    assert pixels.shape == (1, 7, 3)


def test_sixteen_bit_pgm_is_divided_by_257():
    data = b"P5 3 1 65535\n" + np.array([0, 257, 65535], ">u2").tobytes()
    assert decode(data)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 9]], np.int32), "mode I with values from 0 to 9"),
        (np.array([[0, 0.5]], np.float32), "mode F with values from 0 to 0.5"),
        (np.array([[0, np.nan]], np.float32), "mode F with values from nan"),
    ],
)
def test_greyscale_without_a_known_white_is_refused(values, said):
    with pytest.raises(DecodeError, match=said):
        decode(encoded(Image.fromarray(values), "TIFF"))


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation_is_ignored_unless_asked(tag, form):
    exif = Image.Exif()
    exif[0x0112] = tag
    data = encoded(noise("RGB"), form, exif=exif)
    if form != "TIFF":  # Pillow turns TIFFs itself
        assert decode(data).shape == (9, 7, 3)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode(data, Decoding(orientation="exif")), expected)


def test_the_manifest_records_what_changes_values():
    for orientation in ("ignore", "exif"):
        for tolerant in (False, True):
            decoding = Decoding(orientation=orientation, tolerant=tolerant)
            assert Decoding.recorded(str(decoding)) == decoding
    assert str(Decoding(max_pixels=9)) == str(Decoding())
    assert Decoding.recorded("Pillow, convert('RGB'), EXIF orientation ignored") == Decoding()
    with pytest.raises(InputError, match="'upside'.*ignore, exif"):
        Decoding(orientation="upside")
    with pytest.raises(InputError, match="max_pixels is 0, expected 1 to 178956970"):
        Decoding(max_pixels=0)


def test_the_bound_on_pixels_is_checked_before_decoding():
    data = encoded(Image.new("1", (300, 200)), "PNG")
    assert decode(data, Decoding(max_pixels=60000)).shape == (200, 300, 3)
    with pytest.raises(DecodeError, match="300 x 200 pixels.*59999.*--max-pixels"):
        decode(data, Decoding(max_pixels=59999))


def test_the_default_bound_follows_memory(monkeypatch):
    monkeypatch.setattr(pixel_bound, "memory_bytes", lambda: 32 * 10**9)
    assert pixel_bound.usual_pixels(1) == 89_478_485  # Pillow's first bound
    assert pixel_bound.usual_pixels(100) == 10**7


def test_postscript_in_disguise_is_not_run():
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(page)).format == "EPS"  # Pillow alone would start Ghostscript
    with pytest.raises(DecodeError, match="not an image.*25 21 50 53"):
        decode(page)


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
        (JPEG[: len(JPEG) // 2], "damaged image: "),
        (PNG[: len(PNG) // 2], "damaged image: "),
        (PNG[:20], "damaged image|not an image"),
        (png_header(60000, 60000), "decompression bomb|60000 x 60000"),
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
