"""Where in single images does a source miss what the target knows?

For chosen images, the squared error of every token under the maps that training moments give,

    loss[s, i, row, col] = mean over channels of (y - mean_y - (x_s - mean_x) W_s)^2,

beside that of the best constant (the training mean). The maps of :mod:`analyses.reconstruction`
average over all test images; these keep the images apart, for overlays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from analyses.moments.second_moments import Moments
from analyses.reading.features import singles
from analyses.reading.grids import average_to, common_grid
from analyses.reconstruction.question import ReconstructionConfig
from analyses.reconstruction.reconstruction import fit
from feature_store import FeatureStore, InputError, Source


def compute(
    moments: Moments,
    store: FeatureStore,
    *,
    target: str,
    sources: Sequence[str],
    rows: Sequence[int],
    config: ReconstructionConfig | None = None,
) -> xr.Dataset:
    """Reconstruction loss of every token of a few images.

    Parameters
    ----------
    moments : Moments
        Of the training images; hold the target and all sources
        (:func:`analyses.moments.on_disk.load`).
    store : FeatureStore
        Holds the images to look at, best ones that the moments have not seen.
    target : str
    sources : sequence of str
    rows : sequence of int
        Row numbers in the store.
    config : ReconstructionConfig, optional
        Its ridge is used.

    Returns
    -------
    xarray.Dataset
        ``loss`` (source, image, row, col) and ``null_loss`` (image, row, col), in squared feature
        units; coordinates ``source`` and ``image`` (row numbers). NaN for images that failed.

    Raises
    ------
    InputError
        No source, no row, or a row that the store does not have.
    """
    _check(store, sources, rows)
    goal = singles(store, target)
    tokens = _tokens(moments, store, [target, *sources], rows)
    y = tokens[target]
    maps = [fit(moments, singles(store, name), goal, config) for name in sources]
    null = ((y - maps[0].mean_y) ** 2).mean(-1)
    losses = []
    for name, solution in zip(sources, maps, strict=True):
        x = tokens[name] - solution.mean_x
        losses.append(((y - solution.mean_y - x @ solution.weights) ** 2).mean(-1))
    cells = ("image", "row", "col")
    return xr.Dataset(
        {"loss": (("source", *cells), np.stack(losses)), "null_loss": (cells, null)},
        coords={"source": list(sources), "image": list(rows)},
        attrs={"target": target, "store": store.path},
    )


def scale_gains(
    moments: Moments,
    store: FeatureStore,
    *,
    target: str,
    source: str,
    rows: Sequence[int],
    config: ReconstructionConfig | None = None,
) -> xr.DataArray:
    """How much each scale of an S2 source adds to the reconstruction of every token.

    gain[scale] = (loss without the scale - loss with all) / mean null loss of the image

    Parameters as in :func:`compute`, for one source; it needs at least two scales.

    Returns
    -------
    xarray.DataArray, dims (scale, image, row, col)
        A share of the null loss: negative where a token is better off without the scale, NaN for
        images that failed. Coordinates ``scale`` and ``image`` (row numbers).

    Raises
    ------
    InputError
        A single scale; whatever :func:`compute` refuses.
    """
    whole = store.resolve(source)
    if len(whole.scales) < 2:
        raise InputError(
            f"{source} has one scale; what each scale adds needs at least two, as {source}+448"
        )
    without = [
        str(Source(whole.model, whole.tap, tuple(s for s in whole.scales if s != scale)))
        for scale in whole.scales
    ]
    found = compute(
        moments, store, target=target, sources=[str(whole), *without], rows=rows, config=config
    )
    gain = (found["loss"][1:] - found["loss"][0]) / found["null_loss"].mean(("row", "col"))
    gain = gain.drop_vars("source").rename(source="scale").assign_coords(scale=list(whole.scales))
    return gain.transpose("scale", "image", "row", "col").rename("gain")


def contrast(result: xr.Dataset) -> xr.DataArray:
    """Per image (image,): how unevenly the two first sources' losses differ over the image.

    Standard deviation over cells of loss[0] - loss[1], in units of the image's mean null loss:
    images where one source is better in one place only come first when sorted downwards.
    """
    difference = result["loss"][0] - result["loss"][1]
    return difference.std(("row", "col")) / result["null_loss"].mean(("row", "col"))


def _check(store: FeatureStore, sources: Sequence[str], rows: Sequence[int]) -> None:
    if not sources:
        raise InputError("no source to reconstruct from; name at least one")
    if not len(rows):
        raise InputError("no row to look at; name at least one")
    if min(rows) < 0 or max(rows) >= len(store):
        raise InputError(
            f"rows {min(rows)} to {max(rows)} asked for; {store.path} has rows 0 to "
            f"{len(store) - 1}"
        )


def _tokens(
    moments: Moments, store: FeatureStore, sources: Sequence[str], rows: Sequence[int]
) -> dict[str, np.ndarray]:
    """Source to (image, row, col, channel) float64 of the chosen rows, on the moments' grid."""
    found = {name: store.features(name)[np.asarray(rows)].values for name in sources}
    if moments.attrs.get("grid") == "pool":
        grid = common_grid(store.source(name).grid for name in moments.channels)
        found = {name: average_to(values, grid) for name, values in found.items()}
    return {name: values.astype(np.float64) for name, values in found.items()}
