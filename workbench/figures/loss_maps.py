"""Loss of every token drawn over the picture that it belongs to, and what S2 changes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from feature_store import Source
from workbench.datasets.pictures import Reader
from workbench.figures import style
from workbench.figures.panels import draw_bar, lay_over, set_title
from workbench.figures.sources import two_lines


@style.styled
def draw_loss_maps(
    result: xr.Dataset, pictures: Reader, *, titles: list[str] | None = None
) -> Figure:
    """One line per image: the picture, each source's loss, and S2 minus single scale.

    `result` is of :func:`analyses.reconstruction.token_loss.compute`; losses are shares of the null
    loss. `pictures` gives the picture of a row as the model saw it
    (:func:`workbench.datasets.pictures.as_seen`); it shows through where little is lost or changed.
    """
    share = (result["loss"] / result["null_loss"].mean(("row", "col"))).values
    names = [str(n) for n in result["source"].values]
    losses = list(zip(map(two_lines, names), share, strict=True))
    changes = [
        (f"S2 minus {Source.parse(names[one]).scales[0]} alone", share[s2] - share[one])
        for s2, one in _pairs(names)
    ]
    rows = [int(row) for row in result["image"].values]
    count = 1 + len(losses) + len(changes)
    drawn, axes = style.figure(2.2 * count, 2.35 * len(rows) + 0.8, rows=len(rows), columns=count)
    seen = [pictures(row) for row in rows]
    for n, ax in enumerate(axes):
        ax.set_axis_off()
        if n % count == 0:
            line = n // count
            set_title(ax, titles[line] if titles else f"row {rows[line]}")
            if (picture := seen[line]) is not None:
                ax.imshow(picture)
    columns = [axes[n::count] for n in range(count)]
    for parts, kept, colours, low, label in (
        (losses, columns[1 : 1 + len(losses)], "magma", 0, "loss\n/ loss of the best constant"),
        (changes, columns[1 + len(losses) :], "PRGn_r", -1, "change of it\n(green: S2 loses less)"),
    ):
        if parts:
            end = _end(np.stack([values for _, values in parts]))
            for column, (heading, values) in zip(kept, parts, strict=True):
                _draw_column(column, seen, heading, values, colours, (low * end, end))
            bar = [ax for column in kept for ax in column]
            draw_bar(drawn, bar, label, colours, (low * end, end), location="bottom")
    return drawn


def _draw_column(
    axes: Sequence, seen: list, heading: str, values: np.ndarray, colours: str, limits: tuple
) -> None:
    """One map for each image, dims (image, row, col), with its mean."""
    sign = "" if limits[0] == 0 else "+"
    for n, (ax, picture, shown) in enumerate(zip(axes, seen, values, strict=True)):
        height, width = (1, 1) if picture is None else picture.shape[:2]
        lay_over(ax, picture, shown, colours, limits, (-0.5, width - 0.5, height - 0.5, -0.5))
        mean = f"mean {np.nanmean(shown):{sign}.2f}".replace("-", "−")
        set_title(ax, f"{heading}\n{mean}" if n == 0 else mean)


def _pairs(names: list[str]) -> list[tuple[int, int]]:
    """(S2 source, its first scale alone) as positions, where both are there."""
    found = []
    for n, source in enumerate(map(Source.parse, names)):
        alone = [names.index(one) for one in map(str, source.singles()) if one in names]
        if len(source.scales) > 1 and alone:
            found.append((n, alone[0]))
    return found


def _end(values: np.ndarray) -> float:
    """End of a colour scale that a few outlying tokens do not stretch."""
    found = np.abs(values[np.isfinite(values)])
    return float(np.quantile(found, 0.99)) or 1.0 if found.size else 1.0
