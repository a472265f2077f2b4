"""Overlays of the photograph: one function per kind, each from maps to colours."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np

from analyses.reconstruction.token_loss import gains, scale_sources
from feature_store import InputError, Source
from workbench.pictures.stored import StoredMaps
from workbench.pictures.tile import as_bytes, coloured

OPACITY = 0.65
"""Opacity of a map over the photograph."""
NONE, LOSS, CLASSES, ADDS = "none", "reconstruction loss", "class by probe", "added by scale "
CLASS_COLOURS = "tab20"
NAMED = 12


@dataclass(frozen=True)
class Overlay:
    """A map over the photograph."""

    rgba: np.ndarray | None
    """(row, col, 4) uint8."""
    legend: str
    """HTML with escaped names."""


def kinds(source: str) -> list[str]:
    """Kinds of overlay for a source; gains of single scales only if it has several."""
    scales = Source.parse(source).scales
    added = [ADDS + scale for scale in scales] if len(scales) > 1 else []
    return [NONE, LOSS, *added, CLASSES]


def overlay(maps: StoredMaps, kind: str, source: str, target: str, row: int) -> Overlay:
    """One kind of overlay for one image.

    Raises
    ------
    InputError
        The overlay needs labels, or another source to reconstruct.
    """
    if kind == NONE or maps.failure(source, row) is not None:
        return Overlay(None, "")
    if kind == CLASSES:
        return _classes(maps, source, row)
    if target in maps.parts(source):
        raise InputError(f"{target} is part of {source}; choose another target")
    if kind == LOSS:
        return _loss(maps, source, target, row)
    return _added(maps, kind, source, target, row)


def _loss(maps: StoredMaps, source: str, target: str, row: int) -> Overlay:
    found = maps.reconstruction(target, [source]).losses(maps.store, [row])
    share = found["loss"].values[0, 0] / found["null_loss"].values[0].mean()
    limits = (0.0, max(float(share.max()), 1e-9))
    return Overlay(
        coloured(share, limits, "magma", OPACITY),
        _bar("magma", limits) + f"loss of {escape(target)} over the loss of the best constant, "
        f"mean {share.mean():.2f}",
    )


def _added(maps: StoredMaps, kind: str, source: str, target: str, row: int) -> Overlay:
    losses = maps.reconstruction(target, scale_sources(maps.store, source))
    found = gains(losses.losses(maps.store, [row]))
    gain = found.sel(scale=kind.removeprefix(ADDS)).values[0]
    limit = max(float(np.abs(found.values).max()), 1e-9)
    return Overlay(
        coloured(gain, (-limit, limit), "PRGn", OPACITY),
        _bar("PRGn", (-limit, limit)) + f"loss of {escape(target)} that this scale saves, over the "
        f"loss of the best constant, mean {gain.mean():.3f}",
    )


def _classes(maps: StoredMaps, source: str, row: int) -> Overlay:
    labels = maps.probe(source).labels(maps.tokens(source, row))
    rgba = np.concatenate([class_colours(labels), np.full((*labels.shape, 1), OPACITY)], -1)
    found, counts = np.unique(labels, return_counts=True)
    names = [(int(label), maps.store.label_names[label]) for label in found[np.argsort(-counts)]]
    return Overlay(as_bytes(rgba), key_of_classes(names))


def class_colours(labels: np.ndarray) -> np.ndarray:
    """Colours of labels, 0 to 1: dims (...) to (..., 3); -1 is grey; colours repeat after 20."""
    table = mpl.colormaps[CLASS_COLOURS](np.arange(20))[:, :3]
    return np.where((labels < 0)[..., None], 0.5, table[labels % 20])


def key_of_classes(names: list[tuple[int, str]]) -> str:
    """HTML that names the colours of the first :data:`NAMED` classes; names are escaped."""
    named = names[:NAMED]
    colours = class_colours(np.array([number for number, _ in named], np.int64))
    parts = [
        f'<span class="key" style="background:{mpl.colors.to_hex(tuple(colour))}">'
        f"</span>{escape(name)}"
        for colour, (_, name) in zip(colours, named, strict=True)
    ]
    return "".join(parts) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _bar(colours: str, limits: tuple[float, float]) -> str:
    stops = ",".join(mpl.colors.to_hex(c) for c in mpl.colormaps[colours](np.linspace(0, 1, 9)))
    return (
        f'<div class="bar" style="background:linear-gradient(90deg,{stops})"></div>'
        f"{limits[0]:.2g} to {limits[1]:.2g}: "
    )
