"""Figure of the similarity analysis: one matrix for each measure."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from workbench.figures import style
from workbench.figures.sources import two_lines

_TITLES = {
    "cka_debiased": "CKA (debiased)",
    "svcca": "SVCCA",
    "procrustes": "Procrustes distance",
    "mutual_knn": "mutual kNN",
}


@style.styled
def draw_matrices(result: xr.Dataset) -> Figure:
    """Four measures as matrices with their values; darker is more alike in every panel."""
    names = [two_lines(str(n)) for n in result["source"].values]
    size = 1.1 + 0.75 * len(names)
    drawn, axes = style.figure(2 * size + 2.6, 2 * size + 1.6, rows=2, columns=2)
    for number, (ax, (measure, title)) in enumerate(zip(axes, _TITLES.items(), strict=True)):
        values = result[measure].values
        distance = measure == "procrustes"
        ax.imshow(
            values, cmap="Greens_r" if distance else "Greens", vmin=0, vmax=2 if distance else 1
        )
        for (i, j), value in np.ndenumerate(values):
            dark = value < 0.7 if distance else value > 0.6
            text = "" if np.isnan(value) else f"{value:.2f}"
            ax.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
        ticks = range(len(names))
        ax.set_xticks(ticks, names if number > 1 else [], rotation=45, ha="right", fontsize=8)
        ax.set_yticks(ticks, names if number % 2 == 0 else [], fontsize=8)
        ax.set_title(title)
    return drawn
