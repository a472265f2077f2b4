"""A film shows successes and failures side by side, with their curves on the same axes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from workbench.robot.film import COLOURS, FILM_SIDE, STRIP, chosen, write_film
from workbench.robot.rollout import Trial


def trial(position, *, good, steps, loss):
    rng = np.random.default_rng(position)
    film = [rng.integers(0, 256, (FILM_SIDE, FILM_SIDE, 3), np.uint8) for _ in range(0, steps, 3)]
    return Trial(position, steps, placed=good, film=film, losses=[0.0, *[loss] * (steps - 1)])


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The last frame: a success of 6 steps with half the loss of a failure of 12."""
    trials = [
        trial(0, good=False, steps=12, loss=0.4), trial(1, good=True, steps=6, loss=0.2)
    ]  # fmt: skip
    path = write_film(chosen(trials, "placed"), "placed", tmp_path_factory.mktemp("film"))
    with Image.open(path) as film:
        assert film.n_frames == 4
        film.seek(3)
        return np.asarray(film.convert("RGB")).astype(int)


def test_successes_stand_left_in_green_and_failures_right_in_red(shown):
    assert shown.shape == (FILM_SIDE + STRIP, 2 * FILM_SIDE, 3)
    for place, good in ((1, True), (FILM_SIDE + 1, False)):
        assert np.abs(shown[1, place] - COLOURS[good]).max() < 25


def test_curves_share_the_axes_of_steps_and_loss(shown):
    strips = np.split(shown[FILM_SIDE:].sum(-1) < 600, 2, axis=1)
    heights = [STRIP - np.nonzero(strip)[0].min() for strip in strips]
    ends = [np.nonzero(strip)[1].max() for strip in strips]
    assert heights[0] / heights[1] == pytest.approx(0.5, abs=0.1)
    assert ends[0] / ends[1] == pytest.approx(0.5, abs=0.1)
