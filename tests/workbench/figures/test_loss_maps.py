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


def test_a_token_of_high_loss_is_bright_at_its_place_in_the_file(tmp_path):
    """Two files that differ in the place of one token: up on the right, and down on the left."""

    def written(row, col):
        loss = np.full((1, 1, 7, 7), 0.1)
        loss[..., row, col] = 1.0
        cells = ("image", "row", "col")
        result = xr.Dataset(
            {"loss": (("source", *cells), loss), "null_loss": (cells, np.ones((1, 7, 7)))},
            coords={"source": ["m:small@224"], "image": [0]},
        )
        path = draw_loss_maps(result, lambda _: np.zeros((64, 64, 3), np.uint8), tmp_path / "maps")
        return np.asarray(Image.open(path).convert("L"), float)

    difference = written(1, 5) - written(5, 1)
    up, down = np.argwhere(difference > 40), np.argwhere(difference < -40)
    token = np.sqrt(len(up))
    assert token > 5, "a token is several pixels wide"
    assert token == pytest.approx(np.sqrt(len(down)), rel=0.1)
    moved = (up.mean(0) - down.mean(0)) / token
    np.testing.assert_allclose(moved, [1 - 5, 5 - 1], rtol=0.1)


def test_missing_pictures_and_dollar_signs_are_drawn(result, tmp_path, monkeypatch):
    kept = []
    write = style.save_pictures
    monkeypatch.setattr(
        style, "save_pictures", lambda drawn, path: kept.append(drawn) or write(drawn, path)
    )
    path = draw_loss_maps(result, lambda row: None, tmp_path / "maps", titles=["$a$_$b$", "plain"])
    assert Image.open(path).format == "JPEG"
    first, second = kept[0].axes[0], kept[0].axes[3]
    assert [len(ax.images) for ax in kept[0].axes[:6]] == [0, 1, 1, 0, 1, 1], "maps alone"
    assert first.get_title(loc="left") == r"\$a\$_\$b\$", "no mathematics"
    assert second.get_title(loc="left") == "plain"
