"""Where in single images does a source miss what the target knows?

For chosen images, the squared error of every token under the maps that training moments give,

    loss[s, i, row, col] = mean over channels of (y - mean_y - (x_s - mean_x) W_s)^2,

beside that of the best constant (the training mean). The maps of :mod:`analyses.reconstruction`
average over all test images; these keep the images apart, for overlays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from analyses.linear.from_moments import Solution
from analyses.moments.second_moments import Moments
from analyses.reading.features import singles
from analyses.reading.grids import average_to, common_grid
from analyses.reconstruction.question import ReconstructionConfig
from analyses.reconstruction.reconstruction import fit
from feature_store import FeatureStore, InputError, Source
from feature_store.source import names_of


def compute(
    moments: Moments,
    store: FeatureStore,
    *,
    target: str,
    sources: str | Sequence[str],
    rows: Sequence[int],
    config: ReconstructionConfig | None = None,
) -> xr.Dataset:
    """Reconstruction loss of every token of a few images.

    Parameters
    ----------
    moments : Moments
        Moments of the training images; they hold the target and all sources
        (:func:`analyses.moments.on_disk.load`).
    store : FeatureStore
        Holds the images to look at, best ones that the moments have not seen.
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
    return fit_maps(moments, store, target, sources, config).losses(store, rows)


@dataclass(frozen=True)
class FittedMaps:
    """Maps from several sources to one target, fitted once for any number of images."""

    target: str
    sources: tuple[str, ...]
    solutions: tuple[Solution, ...]
    """One for each source."""
    grid: tuple[int, int] | None
    """(rows, cols) that maps are averaged onto; None if all have the same grid."""

    def losses(self, store: FeatureStore, rows: Sequence[int]) -> xr.Dataset:
        """The result of :func:`compute` for these rows of a store."""
        _check_rows(store, rows)
        y, *inputs = (self._tokens(store, name, rows) for name in (self.target, *self.sources))
        null = ((y - self.solutions[0].mean_y) ** 2).mean(-1)
        losses = [
            ((y - map_.mean_y - (x - map_.mean_x) @ map_.weights) ** 2).mean(-1)
            for x, map_ in zip(inputs, self.solutions, strict=True)
        ]
        cells = ("image", "row", "col")
        return xr.Dataset(
            {"loss": (("source", *cells), np.stack(losses)), "null_loss": (cells, null)},
            coords={"source": list(self.sources), "image": list(rows)},
            attrs={"target": self.target, "store": store.path},
        )

    def _tokens(self, store: FeatureStore, source: str, rows: Sequence[int]) -> np.ndarray:
        """float64, dims (image, row, col, channel), on the maps' grid."""
        found = store.features(source)[np.asarray(rows)].values
        return (found if self.grid is None else average_to(found, self.grid)).astype(np.float64)


def fit_maps(
    moments: Moments,
    store: FeatureStore,
    target: str,
    sources: Sequence[str],
    config: ReconstructionConfig | None = None,
) -> FittedMaps:
    """Fit the maps of :func:`compute`; `store` only says which scales make up a source.

    Raises
    ------
    InputError
        No source.
    """
    sources = names_of(sources)
    if not sources:
        raise InputError("no source to reconstruct from; name at least one")
    goal = singles(store, target)
    solutions = tuple(fit(moments, singles(store, name), goal, config) for name in sources)
    pooled = moments.attrs.get("grid") == "pool"
    grid = common_grid(store.source(name).grid for name in moments.channels) if pooled else None
    return FittedMaps(target, tuple(sources), solutions, grid)


def scale_sources(store: FeatureStore, source: str) -> list[str]:
    """An S2 source, and the same without each of its scales in turn: what :func:`gains` compares.

    Raises
    ------
    InputError
        A single scale.
    """
    whole = store.resolve(source)
    if len(whole.scales) < 2:
        raise InputError(
            f"{source} has one scale; what each scale adds needs at least two, as {source}+448"
        )
    without = (tuple(s for s in whole.scales if s != scale) for scale in whole.scales)
    return [str(whole), *(str(Source(whole.model, whole.tap, rest)) for rest in without)]


def gains(result: xr.Dataset) -> xr.DataArray:
    """How much each scale of an S2 source adds to the reconstruction of every token.

    gain[scale] = (loss without the scale - loss with all) / mean null loss of the image

    Parameters
    ----------
    result : xarray.Dataset
        Losses of :func:`scale_sources`, in their order.

    Returns
    -------
    xarray.DataArray, dims (scale, image, row, col)
        A share of the null loss: negative where a token is better off without the scale, NaN for
        images that failed. Coordinates ``scale`` and ``image`` (row numbers).
    """
    gain = (result["loss"][1:] - result["loss"][0]) / result["null_loss"].mean(("row", "col"))
    scales = list(Source.parse(str(result["source"].values[0])).scales)
    gain = gain.drop_vars("source").rename(source="scale").assign_coords(scale=scales)
    return gain.transpose("scale", "image", "row", "col").rename("gain")


def contrast(result: xr.Dataset) -> xr.DataArray:
    """Per image (image,): how unevenly the two first sources' losses differ over the image.

    Standard deviation over cells of loss[0] - loss[1], in units of the image's mean null loss:
    images where one source is better in one place only come first when sorted downwards.
    """
    difference = result["loss"][0] - result["loss"][1]
    return difference.std(("row", "col")) / result["null_loss"].mean(("row", "col"))


def _check_rows(store: FeatureStore, rows: Sequence[int]) -> None:
    if not len(rows):
        raise InputError("no row to look at; name at least one")
    if min(rows) < 0 or max(rows) >= len(store):
        raise InputError(
            f"rows {min(rows)} to {max(rows)} asked for; {store.path} has rows 0 to "
            f"{len(store) - 1}"
        )
