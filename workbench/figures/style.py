"""The one look of all figures: readable in greyscale and by colour-blind readers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.results.files import written_whole

GREY = "#7a7a7a"
"""Scaling on model size, as in the paper's Figure 2."""
GREEN = "#1b7837"
"""Scaling on image scales (S2), as in the paper's Figure 2."""
LIGHT_GREEN = "#7fbf7b"
DARK_GREEN = "#00441b"
MODEL_SIZE = (GREY, "s", "--")
"""Colour, marker and line of the curve over model sizes; its markers are hollow."""
S2_CURVES = ((GREEN, "o", "-"), (DARK_GREEN, "^", "-."), (LIGHT_GREEN, "D", ":"))
"""The same for S2 of each model in turn; they also differ without colour."""
PALETTE = ("#1b7837", "#7a7a7a", "#762a83", "#d08b00", "#2166ac", "#b2182b")
"""Categorical colours. Some are alike in lightness: curves also differ by :data:`MARKERS`."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers beside the colours, so that curves do not differ by colour alone."""

_RC = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "s2-workbench",
}


P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that draws: the style holds within it, and matplotlib's settings stay."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        looks = sns.plotting_context("notebook") | sns.axes_style("ticks")
        colours = {"axes.prop_cycle": cycler(color=PALETTE), "patch.facecolor": PALETTE[0]}
        with mpl.rc_context(looks | {"font.family": "sans-serif"} | colours | _RC):
            return draw(*args, **kwargs)

    return in_style


def figure(
    width: float = 6.4, height: float = 4.0, *, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """A new figure of the given size in inches, and its axes in reading order.

    Called within a function that is :func:`styled`. The figure is not one of pyplot's: it neither
    needs nor chooses a backend, and no window shows it.

    Parameters
    ----------
    width, height : float
        Inches.
    rows, columns : int
        Grid of axes.
    """
    assert mpl.rcParams["svg.hashsalt"] == _RC["svg.hashsalt"], "the caller is not @styled"
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, list(drawn.subplots(rows, columns, squeeze=False).flat)


def curve(axes: Axes, x, y, look: tuple[str, str, str], label: str) -> None:
    """One curve with markers in a look such as :data:`MODEL_SIZE`."""
    colour, marker, line = look
    axes.plot(
        x, y, color=colour, marker=marker, ls=line, label=label, ms=6, zorder=3,
        mfc="white" if look == MODEL_SIZE else colour,
    )  # fmt: skip


def save(drawn: Figure, stem: str | Path) -> tuple[Path, Path]:
    """Write ``stem.png`` and ``stem.svg``; the two paths."""
    stem = Path(stem)
    paths = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    for path in paths:
        with written_whole(path) as partial:  # without a date: the same figure, the same file
            drawn.savefig(partial, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def save_pictures(drawn: Figure, path: str | Path) -> Path:
    """Write a figure made of photographs as one JPEG, a tenth of its size as PNG."""
    path = Path(path).with_suffix(".jpg")
    with written_whole(path) as partial:
        drawn.savefig(partial, dpi=100, pil_kwargs={"quality": 82})
    return path
