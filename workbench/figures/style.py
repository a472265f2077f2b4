"""The one look of all figures: readable in greyscale, without colour vision, light and dark."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from workbench.results.files import written_whole

INK = "#262626"
"""Text, axes and marks; in a notebook the text colour of its theme takes its place."""
GREY = "#7a7a7a"
"""Scaling on model size, as in the paper's Figure 2."""
GREEN = "#1b7837"
"""Scaling on image scales (S2), as in the paper's Figure 2."""
LIGHT_GREEN = "#5aae61"
Look = tuple[str, str, str]
"""Colour, marker and line of a curve."""
MODEL_SIZE: Look = (GREY, "s", "--")
"""The curve over model sizes; its markers are hollow."""
S2_CURVES: tuple[Look, ...] = ((GREEN, "o", "-"), ("#35978f", "^", "-."), ("#2c9c54", "D", ":"))
"""S2 of each model in turn; they also differ without colour."""
PALETTE = (GREEN, GREY, "#9970ab", "#b87a00", "#2166ac", "#c0392b")
"""Categorical colours. Some are alike in lightness: curves also differ by :data:`MARKERS`."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers beside the colours, so that curves do not differ by colour alone."""
SINGLE_CURVES: tuple[Look, ...] = (
    MODEL_SIZE,
    (PALETTE[2], "v", "-"),
    (PALETTE[3], "P", ":"),
    (PALETTE[4], "X", "-."),
)
"""Looks of single-scale sources if each has its own curve."""
INPUT_SIZES: tuple[Look, ...] = (
    (PALETTE[2], "v", ":"),
    (PALETTE[3], "P", "-."),
    (PALETTE[4], "X", "--"),
)
"""Models at other input sizes, each in turn."""

_RC: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=PALETTE),
    "patch.facecolor": GREEN,
    "patch.force_edgecolor": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "s2-workbench",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}

P = ParamSpec("P")
R = TypeVar("R")


def settings(**more: Any) -> Any:
    """A context in which the style holds; matplotlib's settings are the same after it."""
    looks = sns.plotting_context("notebook") | sns.axes_style("ticks")
    return mpl.rc_context(looks | _RC | more)


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that draws: the style holds within it, and matplotlib's settings stay."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with settings():
            return draw(*args, **kwargs)

    return in_style


class Picture(Figure):
    """A figure that shows itself in a notebook, whichever backend is set there.

    It is not one of pyplot's: it neither needs nor chooses a backend, and no window shows it.
    """

    def savefig(self, *args: Any, **options: Any) -> None:
        """As matplotlib's, in the settings that the figure was drawn in."""
        with settings():
            super().savefig(*args, **options)

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, dpi=96)
        return written.getvalue()

    def _repr_html_(self) -> str:
        """SVG without a background, its ink the text colour of the page: for light and dark."""
        written = io.StringIO()
        with settings(**{"svg.fonttype": "path"}):
            super().savefig(
                written, format="svg", dpi=96, transparent=True, metadata={"Date": None}
            )
        drawing = "<svg" + written.getvalue().partition("<svg")[2]
        fit = '<svg style="max-width: 100%; height: auto"'
        return drawing.replace("<svg", fit, 1).replace(INK, "currentColor")


def figure(
    width: float = 6.4, height: float = 4.0, *, rows: int = 1, columns: int = 1
) -> tuple[Picture, list[Axes]]:
    """A new figure of the given size in inches, and its axes in reading order.

    Called within a function that is :func:`styled`.
    """
    assert mpl.rcParams["svg.hashsalt"] == _RC["svg.hashsalt"], "the caller is not @styled"
    drawn = Picture(figsize=(width, height), layout="constrained")
    return drawn, list(drawn.subplots(rows, columns, squeeze=False).flat)


def curve(axes: Axes, x: Any, y: Any, look: Look, label: str, **options: Any) -> None:
    """One curve with markers in a look such as :data:`MODEL_SIZE`."""
    colour, marker, line = look
    face = "white" if look == MODEL_SIZE else colour
    axes.plot(
        x, y, color=colour, marker=marker, ls=line, label=label, ms=6, zorder=3, mfc=face, **options
    )


def log_axis(axis: mpl.axis.Axis) -> None:
    """Few plain numbers on an axis whose scale is logarithmic, whatever its span."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
    if decades < 0.3:  # less than a factor of two: evenly spaced numbers stay apart
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(NullLocator())
        return
    subs = (
        (1.0,) if decades > 2 else (1, 2, 5) if decades > 0.8 else (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8)
    )
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_minor_locator(LogLocator(subs=range(1, 10), numticks=12))


def save(
    drawn: Figure, stem: str | Path, kinds: Sequence[str] = ("png", "svg")
) -> tuple[Path, ...]:
    """Write ``stem.png`` and ``stem.svg``, or the given kinds; their paths."""
    stem = Path(stem)
    paths = tuple(stem.with_name(f"{stem.name}.{kind}") for kind in kinds)
    for path in paths:
        with written_whole(path) as partial:  # without a date: the same figure, the same file
            drawn.savefig(partial, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
