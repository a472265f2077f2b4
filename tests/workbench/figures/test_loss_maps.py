"""Overlay of loss maps: the right map in the right panel, missing pictures, odd titles."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from workbench.figures import style
from workbench.figures.loss_maps import draw_loss_maps


@pytest.fixture
def result():
    loss = np.random.default_rng(0).uniform(0.1, 1, (2, 2, 7, 7))
    cells = ("image", "row", "col")
    return xr.Dataset(
        {"loss": (("source", *cells), loss), "null_loss": (cells, np.full((2, 7, 7), 2.0))},
        coords={"source": ["m:small@224", "m:small@224+448"], "image": [3, 5]},
    )


def test_panels_show_the_loss_as_a_share(result, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(style, "save_pictures", lambda drawn, path: kept.append(drawn) or path)
    draw_loss_maps(result, lambda row: np.full((64, 64, 3), row, np.uint8), tmp_path / "maps")
    axes = kept[0].axes
    assert np.unique(axes[0].images[0].get_array()).tolist() == [3]  # the picture of row 3
    np.testing.assert_allclose(axes[5].images[1].get_array(), result["loss"][1, 1] / 2)
    assert axes[5].images[1].get_extent() == axes[5].images[0].get_extent()


def test_missing_pictures_and_dollar_signs_are_drawn(result, tmp_path):
    path = draw_loss_maps(result, lambda row: None, tmp_path / "maps", titles=["$a$_$b$", "plain"])
    assert Image.open(path).format == "JPEG"
    assert Image.open(path).width > 500
