"""Formats of Pillow's plug-ins are read where their packages are installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from workbench import datasets
from workbench.datasets import formats

FAKE = '''
"""Eight letters, columns, rows, then RGB pixels."""
from PIL import Image, ImageFile

class Fake(ImageFile.ImageFile):
    format = "{form}"

    def _open(self):
        self.fp.seek(8)
        self._size = tuple(self.fp.read(2))
        self._mode = "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 10, ("RGB", 0, 1))]

def register():
    Image.register_open("{form}", Fake, lambda head: head.startswith(b"fake{form}"[:8]))
    Image.register_extension("{form}", "{end}")
'''
PLUGINS = {
    "pillow_heif": ("HEIF", ".heic", "register_heif_opener = register"),
    "pillow_jxl": ("JXL", ".jxl", "register()"),
}


@pytest.fixture
def registry(monkeypatch):
    """Pillow's registry and the formats that were found, put back afterwards."""
    Image.init()
    for name in ("OPEN", "EXTENSION"):
        monkeypatch.setattr(Image, name, dict(getattr(Image, name)))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    forget()
    yield monkeypatch
    forget()


def forget():
    formats.readable.cache_clear()
    formats.extensions.cache_clear()


def test_plug_ins_are_registered_and_their_files_are_taken(registry, tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    images = tmp_path / "images"
    images.mkdir()
    for package, (form, end, last) in PLUGINS.items():
        code = FAKE.format(form=form, end=end) + last + "\n"
        (tmp_path / f"{package}.py").write_text(code, encoding="utf-8")
        head = f"fake{form}".ljust(8).encode()
        (images / f"a{end}").write_bytes(head + bytes([4, 2]) + pixels.tobytes())
    Image.fromarray(pixels).save(images / "a.png")
    for package in PLUGINS:
        registry.setitem(sys.modules, package, None)  # not installed
    assert datasets.open(f"folder:{images}").skipped == {".heic": 1, ".jxl": 1}
    forget()
    for package in PLUGINS:
        registry.delitem(sys.modules, package)
    registry.syspath_prepend(tmp_path)
    dataset = datasets.open(f"folder:{images}")
    assert dataset.image_ids == ["a.heic", "a.jxl", "a.png"]
    assert not dataset.skipped
    for row in range(3):
        np.testing.assert_array_equal(dataset.image(row), pixels)


@pytest.mark.parametrize("package", PLUGINS)
def test_installed_plug_ins_decode(package, tmp_path):
    pytest.importorskip(package)
    form, end, _ = PLUGINS[package]
    assert form in formats.readable()
    Image.new("RGB", (64, 48), (200, 100, 50)).save(tmp_path / f"a{end}")
    found = datasets.open(f"folder:{tmp_path}").image(0)
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - (200, 100, 50)).max() < 12
