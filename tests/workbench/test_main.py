"""What the program does to its own process before a command runs."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

from PIL import Image

from workbench import __main__, cli, processors
from workbench.datasets.formats import open_raster

OPEN = "import sys, PIL.Image; PIL.Image.open(sys.argv[1])"


def test_large_images_within_the_bound_print_nothing_of_pillow_s(monkeypatch, tmp_path):
    """Neither here nor in decoding processes, which inherit the interpreter's options."""
    encoded = io.BytesIO()
    Image.new("1", (9500, 9500)).save(encoded, "PNG")
    (tmp_path / "large.png").write_bytes(encoded.getvalue())
    monkeypatch.setattr(processors, "share", lambda: None)
    monkeypatch.setattr(cli, "main", lambda: open_raster(encoded.getvalue()).close() or 0)
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.setattr(sys, "stderr", None)
    with warnings.catch_warnings(record=True) as seen:
        assert __main__.command() == 0
    assert seen == []

    def said(*options):
        command = [sys.executable, *options, "-c", OPEN, str(tmp_path / "large.png")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert "exceeds limit" in said()
    assert said(*(f"-W{option}" for option in sys.warnoptions)) == ""
