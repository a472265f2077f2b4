"""Photographs beside their true maps and what heads on each source predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from workbench.figures import style
from workbench.figures.panels import PANEL, set_title
from workbench.figures.sources import short

UNKNOWN = (0.92, 0.92, 0.92)
"""Grey of pixels without truth."""
GOLDEN = 0.618034
"""Share of the hue circle between one class and the next; adjacent numbers get unlike hues."""
NAMED = 24
"""Maximum number of classes that the legend names."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """A test image and its maps, each at its own pixels."""

    title: str
    photograph: np.ndarray | None
    """(row, col, 3) uint8."""
    truth: np.ndarray
    """(row, col): int classes, -1 = ignored; or float metres, NaN = unknown."""
    maps: list[np.ndarray]
    """Prediction of each source, as the truth."""


@style.styled
def draw_predictions(
    images: Sequence[Predicted], sources: Sequence[str], names: Sequence[str] | None = None
) -> Figure:
    """A line for each image: photograph, truth, and the prediction of the head on each source.

    `names` are those of the classes.
    """
    columns = 2 + len(sources)
    figure, axes = style.figure(
        PANEL * columns, (PANEL + 0.3) * len(images) + 0.6, rows=len(images), columns=columns
    )
    depth = not np.issubdtype(images[0].truth.dtype, np.integer)
    limits = _limits(images)
    for line, image in enumerate(images):
        row = axes[line * columns : (line + 1) * columns]
        for ax in row:
            ax.set_axis_off()
        if image.photograph is not None:
            row[0].imshow(image.photograph)
        set_title(row[0], image.title)
        for ax, values in zip(row[1:], [image.truth, *image.maps], strict=True):
            ax.imshow(depth_in_colours(values, limits) if depth else classes_in_colours(values))
        if line == 0:
            for ax, title in zip(row[1:], ["truth", *map(short, sources)], strict=True):
                set_title(ax, title)
    if depth:
        norm = mpl.colors.Normalize(*limits)
        figure.colorbar(mpl.cm.ScalarMappable(norm, "viridis"), ax=axes, label="metres", shrink=0.6)
    else:
        _legend(figure, images, names)
    return figure


def _limits(images: Sequence[Predicted]) -> tuple[float, float]:
    """Least and largest true value."""
    known = [image.truth[np.isfinite(image.truth)] for image in images]
    both = np.concatenate(known) if any(map(len, known)) else np.zeros(1)
    return float(both.min()), float(max(both.max(), both.min() + 1e-6))


def depth_in_colours(depth: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Colours of a depth map: float64, dims (row, col, 3)."""
    low, high = limits
    colours = mpl.colormaps["viridis"](np.clip((depth - low) / (high - low), 0, 1))[..., :3]
    return np.where(np.isfinite(depth)[..., None], colours, UNKNOWN)


def classes_in_colours(classes: np.ndarray) -> np.ndarray:
    """A colour of its own for each class, whatever others there are: float64, dims (row, col, 3).

    Examples
    --------
    >>> classes_in_colours(np.array([[-1]])).tolist()
    [[[0.92, 0.92, 0.92]]]
    """
    number = np.maximum(classes, 0)
    hue = number * GOLDEN % 1
    saturation = np.where(number % 2, 0.45, 0.8)
    value = np.where(number // 2 % 2, 0.95, 0.7)
    colours = hsv_to_rgb(np.stack([hue, saturation, value], -1))
    return np.where((classes >= 0)[..., None], colours, UNKNOWN)


def _legend(figure: Figure, images: Sequence[Predicted], names: Sequence[str] | None) -> None:
    """The most frequent classes of the truths."""
    truth = np.concatenate([image.truth[image.truth >= 0] for image in images])
    found = np.argsort(-np.bincount(truth), kind="stable")[: len(np.unique(truth))][:NAMED]
    patches = [
        Patch(
            color=classes_in_colours(np.array([number]))[0],
            label=names[number] if names and number < len(names) else f"class {number}",
        )
        for number in sorted(found.tolist())
    ]
    if patches:
        figure.legend(
            handles=patches, loc="outside lower center", ncols=min(len(patches), 8), fontsize=8
        )
