"""Still pictures of token maps: what a source sees in an image, drawn at its own grid.

Every function takes a store (or :class:`workbench.pictures.computed.ComputedMaps`, for images
without a store) and returns a figure. Nothing global changes: neither matplotlib's backend nor its
settings, and the figure belongs to no window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.reconstruction import token_loss
from analyses.token_maps import similarity_map
from analyses.token_maps.places import require_position
from feature_store import FeatureStore, InputError
from feature_store.source import names_of
from workbench.figures import style
from workbench.figures.panels import (
    draw_over_photograph,
    draw_photograph,
    new_panels,
    outline,
    set_title,
    with_foreground,
)
from workbench.figures.sources import short, two_lines, without_common_tap
from workbench.pictures.maps import Maps, matching
from workbench.pictures.stored import StoredMaps


@style.styled
def tokens(
    maps: FeatureStore | Maps,
    *,
    image: int,
    sources: str | Sequence[str] = (),
    foreground: tuple[float, float] | None = None,
) -> Figure:
    """The photograph, and each source's token map as principal colours; S2 sources with parts.

    One basis per source over all images: the same colour means the same in every picture of it.
    `image` is a row number. By default the first sources of the store are drawn: one model at all
    its scales, and at each of them. Tokens whose first component, 0 to 1 over the dataset, lies
    outside `foreground` (low, high) are left out.

    Raises
    ------
    InputError
        A row that does not exist, an image that failed, a source that keeps only some positions.
    """
    opened, names = _asked(maps, image, sources)
    names = list(dict.fromkeys(part for name in names for part in opened.parts(name)))
    figure, axes = new_panels(1 + len(names))
    draw_photograph(axes[0], opened, image, names[0])
    for ax, name, shown in zip(axes[1:], names, without_common_tap(names), strict=True):
        rgb = opened.basis(name).rgb(_tokens(opened, name, image))
        ax.imshow(with_foreground(rgb, foreground), interpolation="nearest")
        set_title(ax, f"{two_lines(shown)}, {rgb.shape[0]} x {rgb.shape[1]} tokens")
    return figure


@style.styled
def similarity(
    maps: FeatureStore | Maps,
    *,
    image: int,
    token: tuple[int, int],
    sources: str | Sequence[str] = (),
) -> Figure:
    """The cosine of one token to all others of its image, in every source, as :func:`tokens`.

    `token` (row, col) lies on the grid of the first source; other grids use that at the same place.

    Raises
    ------
    InputError
        A position outside the grid; whatever :func:`tokens` refuses.
    """
    opened, names = _asked(maps, image, sources)
    names = list(dict.fromkeys(part for name in names for part in opened.parts(name)))
    first = _tokens(opened, names[0], image).shape[:2]
    require_position(first, token)
    figure, axes = new_panels(1 + len(names), bar=True)
    extent = draw_photograph(axes[0], opened, image, names[0])
    outline(axes[0], token, first, extent)
    drawing: Any = None
    for ax, name, shown in zip(axes[1:], names, without_common_tap(names), strict=True):
        values = _tokens(opened, name, image)
        at = matching(token, first, values.shape[:2])
        found = similarity_map(values, at)
        drawing = ax.imshow(found, cmap="viridis", vmin=min(0.0, found.min()), vmax=1)
        outline(ax, at, found.shape, (-0.5, found.shape[1] - 0.5, found.shape[0] - 0.5, -0.5))
        set_title(ax, f"{two_lines(shown)}, token {at[0]}, {at[1]}")
    figure.colorbar(drawing, ax=axes, label="cosine", shrink=0.8)
    return figure


@style.styled
def loss(
    maps: FeatureStore | StoredMaps, *, image: int, target: str, sources: str | Sequence[str] = ()
) -> Figure:
    """Maps of the loss of reconstructing the target from each source, over the null loss.

    Linear maps are fitted on sampled images of ``StoredMaps.train``, the store itself by default.
    Sources are as for :func:`tokens`; S2 sources stand without their parts.
    """
    opened, names = _asked(maps, image, sources)
    stored = _need_store(opened)
    _tokens(stored, names[0], image)
    found = stored.reconstruction(target, names).losses(stored.store, [image])
    shares = (found["loss"] / found["null_loss"].mean(("row", "col"))).values[:, 0]
    titles = [f"{two_lines(n)}, mean {s.mean():.2f}" for n, s in zip(names, shares, strict=True)]
    label = f"loss of {short(target)}\n/ loss of the best constant"
    limits = (0, max(float(shares.max()), 1e-9))
    return draw_over_photograph(stored, image, names[0], shares, titles, label, "magma", limits)


@style.styled
def scales(maps: FeatureStore | StoredMaps, *, image: int, target: str, source: str = "") -> Figure:
    """How much each scale of an S2 source adds to the reconstruction of every token of the image.

    The source has at least two scales and is by default the first that the store offers.
    """
    opened, names = _asked(maps, image, [source] if source else ())
    stored = _need_store(opened)
    _tokens(stored, names[0], image)
    sources = token_loss.scale_sources(stored.store, names[0])
    losses = stored.reconstruction(target, sources).losses(stored.store, [image])
    found = token_loss.gains(losses)
    values = found.values[:, 0]
    titles = [
        f"scale {scale} adds\nmean {value.mean():.3f}"
        for scale, value in zip(found["scale"].values, values, strict=True)
    ]
    label = f"loss of {short(target)}\nsaved by the scale\n/ loss of the best constant"
    limit = max(float(np.abs(values).max()), 1e-9)
    return draw_over_photograph(
        stored, image, names[0], values, titles, label, "PRGn", (-limit, limit)
    )


def _asked(maps: Any, image: int, sources: str | Sequence[str]) -> tuple[Any, list[str]]:
    """The maps, and the sources or else the first offered; checks the image's row."""
    maps = StoredMaps(maps) if isinstance(maps, FeatureStore) else maps
    if not 0 <= image < len(maps.image_ids):
        raise InputError(f"no image {image}; rows are 0 to {len(maps.image_ids) - 1}")
    if not sources and not maps.sources:
        wrong = "; ".join(f"{name} {why}" for name, why in maps.left_out.items())
        raise InputError(f"no source has whole maps here ({wrong or 'none is stored'})")
    return maps, list(names_of(sources)) or maps.default


def _need_store(maps: Any) -> StoredMaps:
    if not isinstance(maps, StoredMaps):
        raise InputError("losses need a store: maps to a target are fitted on its images")
    return maps


def _tokens(maps: Maps, source: str, image: int) -> np.ndarray:
    found = maps.tokens(source, image)
    if np.isnan(found).any():
        why = maps.failure(source, image) if isinstance(maps, StoredMaps) else None
        raise InputError(f"image {image} ({maps.image_ids[image]}) has no features: {why}")
    return found
