"""Animate trials: successes and failures side by side, each with its loss below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from workbench.results.files import written_whole
from workbench.robot.config import FILM_SIDE, FILM_STRIDE
from workbench.robot.rollout import Trial

STRIP = 56
"""Height of the curve below a frame in pixels."""
EACH = 2
"""Successes shown, and failures shown."""
MILLISECONDS = 60
"""Time that a frame is shown."""
COLOURS = {True: (46, 125, 50), False: (178, 60, 23)}
SHADES, SAMPLED = 128, 8
"""Colours of a film, chosen from some of its frames. They are the same in all frames, without
dithering, whose noise would make the file sixteen times as large."""


def chosen(trials: Iterable[Trial], criterion: str) -> list[Trial]:
    """The first successes and the first failures by position: the trials that a film shows."""
    ordered = sorted(trials, key=lambda trial: trial.position)
    sides = (
        [trial for trial in ordered if bool(getattr(trial, criterion)) is good]
        for good in (True, False)
    )
    return [trial for side in sides for trial in side[:EACH]]


def write_film(shown: Sequence[Trial], criterion: str, folder: Path) -> Path:
    """Write ``trials.gif`` of filmed trials, side by side in this order.

    The curve below each frame is the mean absolute difference between the policy's action and the
    scripted expert's, on the same axes for all trials. `criterion` is the field of a trial that
    counts as success.
    """
    length = max(len(trial.film) for trial in shown)
    steps = max(len(trial.losses) for trial in shown)
    most = max((loss for trial in shown for loss in trial.losses), default=0.0)
    panels = [
        np.concatenate([_panel(trial, number, criterion, (steps, most)) for trial in shown], axis=1)
        for number in range(length)
    ]
    sample = np.concatenate(panels[:: -(-length // SAMPLED)])
    palette = Image.fromarray(sample).quantize(SHADES)
    first, *rest = (
        Image.fromarray(panel).quantize(palette=palette, dither=Image.Dither.NONE)
        for panel in panels
    )
    path = folder / "trials.gif"
    with written_whole(path) as partial:
        first.save(partial, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0)
    return path


def _panel(trial: Trial, number: int, criterion: str, longest: tuple[int, float]) -> np.ndarray:
    """A frame (the last one after the end of the trial), and the curve up to its step.

    `longest` are the ends of the curve's axes: steps and loss.
    """
    at = number * FILM_STRIDE
    frame = Image.fromarray(trial.film[min(number, len(trial.film) - 1)])
    colour = COLOURS[getattr(trial, criterion)]
    whole = Image.new("RGB", (FILM_SIDE, FILM_SIDE + STRIP), "white")
    whole.paste(frame, (0, 0))
    draw = ImageDraw.Draw(whole)
    draw.rectangle((0, 0, FILM_SIDE - 1, FILM_SIDE - 1), outline=colour, width=3)
    points = [
        (
            k * (FILM_SIDE - 1) / max(longest[0] - 1, 1),
            FILM_SIDE + STRIP - 3 - loss / max(longest[1], 1e-9) * (STRIP - 8),
        )
        for k, loss in enumerate(trial.losses[: at + 1])
    ]
    if len(points) > 1:
        draw.line(points, fill=colour, width=2)
    return np.asarray(whole)
