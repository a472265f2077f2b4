"""Loss of every token drawn over the picture that it belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from workbench.datasets.pictures import Reader
from workbench.figures import style
from workbench.figures.reconstruction import label

OVERLAY = 0.6
"""Opacity of the map over the greyscale picture."""


@style.styled
def draw_loss_maps(
    result: xr.Dataset, pictures: Reader, path: str | Path, *, titles: list[str] | None = None
) -> Path:
    """One row per image: the picture, then for each source its loss as a share of the null loss.

    Parameters
    ----------
    result : xarray.Dataset
        Of :func:`analyses.reconstruction.token_loss.compute`.
    pictures : callable
        Row number to the picture as the model saw it (:func:`workbench.datasets.pictures.as_seen`).
    path : str or Path
        A JPEG is written, because the figure is made of photographs.
    titles : list of str, optional
        One for each image, set above its picture.
    """
    share = (result["loss"] / result["null_loss"].mean(("row", "col"))).values
    names = [str(n) for n in result["source"].values]
    rows = [int(row) for row in result["image"].values]
    count = 1 + len(names)
    drawn, axes = style.figure(2.1 * count + 0.9, 2.25 * len(rows), rows=len(rows), columns=count)
    limit = float(np.nanquantile(share, 0.99)) if np.isfinite(share).any() else 1.0
    for n, row in enumerate(rows):
        line = axes[n * count : (n + 1) * count]
        picture = pictures(row)
        for ax in line:
            ax.set_xticks([])
            ax.set_yticks([])
            if picture is not None:
                ax.imshow(picture if ax is line[0] else _grey(picture), cmap="gray", vmin=0)
        extent = line[0].get_xlim() + line[0].get_ylim()
        # Matplotlib would set text between two dollar signs as mathematics.
        line[0].set_title((titles[n] if titles else f"row {row}").replace("$", r"\$"), fontsize=8)
        for ax, name, values in zip(line[1:], names, share[:, n], strict=True):
            shown = ax.imshow(
                values, cmap="magma", vmin=0, vmax=limit, alpha=OVERLAY, extent=extent
            )
            heading = f"{label(name)}\n" if n == 0 else ""
            ax.set_title(f"{heading}mean {np.nanmean(values):.2f}", fontsize=8)
    bar = drawn.colorbar(shown, ax=axes, label="loss / loss of the best constant", shrink=0.8)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    return style.save_pictures(drawn, path)


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.mean(-1) * 0.6 + 100  # lifted, so that dark places do not hide the map
