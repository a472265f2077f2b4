"""A small dataset whose colours tell its masks and depths."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

COLOURS = np.array([[230, 30, 30], [30, 220, 40], [40, 40, 230]], np.uint8)
"""Of the classes; their depths are 1, 2 and 3 metres."""


@pytest.fixture(scope="session")
def coloured_maps(tmp_path_factory):
    """Folder to its csv: name; 8 images of 32 x 40 with masks and depths, cells of 16 pixels."""

    def make(name, seed, count=8, size=(2, 3)):
        folder, rng = tmp_path_factory.mktemp(name), np.random.default_rng(seed)
        lines = ["path,mask,depth"]
        for k in range(count):
            classes = rng.integers(0, 3, size).repeat(16, 0).repeat(16, 1)[:, :40]
            Image.fromarray(COLOURS[classes]).save(folder / f"{k}.png")
            Image.fromarray(classes.astype(np.uint8)).save(folder / f"{k}_mask.png")
            np.save(folder / f"{k}.npy", (1 + classes).astype(np.float32))
            lines.append(f"{k}.png,{k}_mask.png,{k}.npy")
        (folder / "all.csv").write_text("\n".join(lines))
        return f"csv:{folder / 'all.csv'}"

    return make


@pytest.fixture(scope="session")
def seen(coloured_maps):
    """Name of training images."""
    return coloured_maps("seen", 0)


@pytest.fixture(scope="session")
def unseen(coloured_maps):
    """Name of test images."""
    return coloured_maps("unseen", 1, count=4)
