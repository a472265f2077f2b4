"""Sheets of predictions: a line for each image, a column for each source, classes by colour."""

from __future__ import annotations

import numpy as np

from workbench.figures.predictions import (
    Predicted,
    classes_in_colours,
    depth_in_colours,
    draw_predictions,
)

SOURCES = ["bundled:a#b@224", "bundled:a#b@224+448"]


def test_a_sheet_shows_photographs_truths_and_predictions():
    truth = np.array([[0, 1], [2, -1]])
    image = Predicted("one.png", np.zeros((4, 4, 3), np.uint8), truth, [truth * 0, truth.clip(0)])
    drawn = draw_predictions([image, image], SOURCES, ["sky", "$road$"])
    axes = drawn.axes
    assert len(axes) == 8
    titles = [ax.get_title() or ax.get_title("left") for ax in axes[:4]]
    assert titles[:2] == ["one.png", "truth"]
    assert "448" in titles[3]
    np.testing.assert_allclose(axes[1].images[0].get_array(), classes_in_colours(truth))
    np.testing.assert_allclose(axes[6].images[0].get_array(), classes_in_colours(truth * 0))
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sky", "$road$", "class 2"]


def test_depth_shares_its_colours_and_shows_what_is_unknown():
    truth = np.array([[1.0, 3.0], [np.nan, 2.0]], np.float32)
    drawn = draw_predictions([Predicted("a", None, truth, [truth, 9 + truth])], SOURCES)
    shown = drawn.axes[1].images[0].get_array()
    np.testing.assert_allclose(shown, depth_in_colours(truth, (1, 3)))
    assert np.allclose(shown[1, 0], 0.92)
    assert not drawn.axes[0].images
    assert drawn.axes[-1].get_ylabel() == "metres"


def test_150_classes_have_150_colours():
    colours = classes_in_colours(np.arange(150)[None])[0]
    assert len({tuple(colour.round(3)) for colour in colours}) == 150
