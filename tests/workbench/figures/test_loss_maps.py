"""Overlay of loss maps: the right map in the right panel, differences, missing pictures."""

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


def test_panels_show_losses_as_shares_and_their_difference(result):
    figure = draw_loss_maps(result, lambda row: np.full((64, 64, 3), row, np.uint8))
    axes = figure.axes
    assert np.unique(axes[0].images[0].get_array()).tolist() == [3]  # the picture of row 3
    small, s2, change = (axes[n].images[1].get_array() for n in (5, 6, 7))  # of row 5
    np.testing.assert_allclose(small, result["loss"][0, 1] / 2)
    np.testing.assert_allclose(s2, result["loss"][1, 1] / 2)
    np.testing.assert_allclose(change, s2 - small)
    assert axes[6].images[1].get_extent() == axes[6].images[0].get_extent()
    assert axes[3].get_title(loc="left").startswith("S2 minus 224 alone")
    low, high = axes[7].images[1].get_clim()
    assert low == -high, "no change is the neutral middle"


def test_the_photograph_shows_through_where_nothing_is_lost_or_changed(result):
    figure = draw_loss_maps(result, lambda row: np.zeros((64, 64, 3), np.uint8))
    loss, change = (figure.axes[n].images[1] for n in (1, 3))
    assert loss.cmap(0.0)[3] < 0.2 < 0.8 < loss.cmap(1.0)[3]
    assert change.cmap(0.5)[3] < 0.2 < 0.8 < min(change.cmap(0.0)[3], change.cmap(1.0)[3])


def test_without_s2_there_is_no_difference(result):
    figure = draw_loss_maps(result.isel(source=[0]), lambda row: None)
    assert len(figure.axes) == 2 * 2 + 1


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
        drawn = draw_loss_maps(result, lambda _: np.zeros((64, 64, 3), np.uint8))
        (path,) = style.save(drawn, tmp_path / "maps", ["png"])
        return np.asarray(Image.open(path).convert("L"), float)

    difference = written(1, 5) - written(5, 1)
    up, down = np.argwhere(difference > 40), np.argwhere(difference < -40)
    token = np.sqrt(len(up))
    assert token > 5, "a token is several pixels wide"
    assert token == pytest.approx(np.sqrt(len(down)), rel=0.1)
    moved = (up.mean(0) - down.mean(0)) / token
    np.testing.assert_allclose(moved, [1 - 5, 5 - 1], rtol=0.1)


def test_missing_pictures_and_dollar_signs_are_drawn(result, tmp_path):
    figure = draw_loss_maps(result, lambda row: None, titles=["$a$_$b$", "plain"])
    assert [len(ax.images) for ax in figure.axes[:8]] == [0, 1, 1, 1] * 2, "maps alone"
    style.save(figure, tmp_path / "maps")
    assert "$a$_$b$" in (tmp_path / "maps.svg").read_text(), "no mathematics"
