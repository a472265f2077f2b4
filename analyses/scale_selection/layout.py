"""Positions of the crops of larger scales on the base grid, and maps in which some were not run.

A skipped crop is filled with the nearest base tokens. On the base grid this is

    filled = pool(tokens of the crops that were run, zero elsewhere) + (1 - share) * base,

where share is the part of a cell that lies in crops that were run. Without crops the result is the
base map, with all crops the pooled map of the scale. If the cells of the base grid do not divide
evenly among the crops (7 cells, two crops), a pooled map mixes two crops at their border, and only
the merged map (``448.unpooled``) separates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from feature_store import FeatureStore, InputError
from feature_store.source import Source

Grid = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ScaleLayout:
    """The crops of one scale."""

    name: str
    """The single-scale source whose maps are read."""
    scale: str
    """Its scale in pixels, without ``.unpooled``."""
    crops: Grid
    """Number of crops in each direction: (rows, cols)."""
    cells: np.ndarray
    """bool, dims (crop, row, col): cells of the merged map that belong to a crop."""
    share: np.ndarray
    """float64, dims (crop, row, col): part of each cell of the base grid that lies in a crop."""
    unpooled: bool
    """Whether the maps are merged maps, not pooled to the base grid."""

    @classmethod
    def of(
        cls, name: str, *, crops: Grid, crop_grid: Grid, merged: Grid, grid: Grid, unpooled: bool
    ) -> ScaleLayout:
        """From sizes: crops, the grid of one crop, the merged map and the base grid."""
        row = np.arange(merged[0]) // crop_grid[0]
        col = np.arange(merged[1]) // crop_grid[1]
        number = row[:, None] * crops[1] + col
        cells = number == np.arange(crops[0] * crops[1])[:, None, None]
        scale = Source.parse(name).scales[0].replace(".unpooled", "")
        return cls(name, scale, crops, cells, share_of(cells, grid), unpooled)

    @property
    def exact(self) -> bool:
        """Whether the maps separate the contributions of the crops."""
        return self.unpooled or bool(np.isin(self.share, (0.0, 1.0)).all())


@dataclass(frozen=True, eq=False)
class Layout:
    """The base scale of a model and the crops of its larger scales, one after the other."""

    base: str
    """Single-scale source of the base tokens."""
    grid: Grid
    """The base grid: (rows, cols)."""
    scales: tuple[ScaleLayout, ...]

    @classmethod
    def stored(cls, store: FeatureStore, model: str, scales: Sequence[str]) -> Layout:
        """The layout of stored maps; merged maps (``.unpooled``) are preferred.

        Raises
        ------
        InputError
            Fewer than two scales, a scale that is not stored or has no whole maps, a first scale
            that is not the model's own size, or a larger one that is not cut into crops.
        """
        if len(scales) < 2:
            raise InputError(
                f"{len(scales)} scale(s) given; expected the base scale and larger ones, such as "
                "--scales 1x 2x"
            )
        names = [_stored_name(store, model, scale) for scale in scales]
        facts = [_facts(store, name) for name in names]
        base, sizes = facts[0], (facts[0]["height"], facts[0]["width"])
        if sizes != tuple(base["base"]) or len({tuple(f["base"]) for f in facts}) > 1:
            raise InputError(
                f"the first scale is {scales[0]}, of {sizes[0]} x {sizes[1]} pixels; expected the "
                f"base scale, of {base['base'][0]} x {base['base'][1]}"
            )
        grid = store.source(names[0]).grid
        of = [_scale(n, f, grid) for n, f in zip(names[1:], facts[1:], strict=True)]
        return cls(names[0], grid, tuple(of))

    @property
    def count(self) -> int:
        """Crops of the larger scales."""
        return sum(len(scale.share) for scale in self.scales)

    @property
    def share(self) -> np.ndarray:
        """Part of each base cell in each crop: dims (crop, row, col)."""
        return np.concatenate([scale.share for scale in self.scales])

    @property
    def inexact(self) -> list[str]:
        """Scales whose pooled maps mix crops at their borders."""
        return [scale.name for scale in self.scales if not scale.exact]

    def describe(self) -> dict[str, Any]:
        """Grid, scales, and crops of each scale, which a fitted policy must match."""
        return {
            "grid": list(self.grid),
            "scales": [s.scale for s in self.scales],
            "crops": [list(s.crops) for s in self.scales],
        }

    def parts(self, chosen: np.ndarray) -> list[np.ndarray]:
        """Split an array with a last axis of crops into one array per scale."""
        ends = np.cumsum([len(scale.share) for scale in self.scales])
        return np.split(chosen, ends[:-1], axis=-1)


def share_of(cells: np.ndarray, grid: Grid) -> np.ndarray:
    """Part of each base cell that lies in the marked cells: (n, H, W) to (n, row, col), float64."""
    return pooled(cells[..., None].astype(np.float32), grid)[..., 0].astype(np.float64)


def pooled(maps: np.ndarray, grid: Grid) -> np.ndarray:
    """Merged maps on the base grid, as extraction pools them: float32, dims as before."""
    channels_first = torch.from_numpy(np.ascontiguousarray(maps)).permute(0, 3, 1, 2)
    return torch.nn.functional.adaptive_avg_pool2d(channels_first, grid).permute(0, 2, 3, 1).numpy()


def fill(
    layout: Layout, base: np.ndarray, maps: Sequence[np.ndarray], chosen: np.ndarray
) -> np.ndarray:
    """Joint map of all scales in which only the chosen crops were run.

    Parameters
    ----------
    base : float32 array, dims (image, row, col, channel)
    maps : sequence of float32 arrays, dims (image, row, col, channel)
        Stored maps of each larger scale.
    chosen : bool array, dims (image, crop)

    Returns
    -------
    float32 array, dims (image, row, col, channel)
        On the base grid, channels of the scales side by side.
    """
    joint = [base]
    for scale, tokens, run in zip(layout.scales, maps, layout.parts(chosen), strict=True):
        marked = np.einsum("nk,khw->nhw", run.astype(np.float32), scale.cells) > 0
        share = share_of(marked, layout.grid)[..., None].astype(np.float32)
        if scale.unpooled:
            own = pooled(np.where(marked[..., None], tokens, np.float32(0)), layout.grid)
        else:
            own = share * tokens
        joint.append(own + (1 - share) * base)
    return np.concatenate(joint, axis=-1)


def deltas(layout: Layout, base: np.ndarray, maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Contribution of each crop to the map of its scale; added to a map without crops, as `fill`.

    One array per larger scale: float32, dims (image, crop, row, col, channel).
    """
    found = []
    for scale, tokens in zip(layout.scales, maps, strict=True):
        each = []
        for cells, part in zip(scale.cells, scale.share.astype(np.float32), strict=True):
            share = part[..., None]
            if scale.unpooled:
                own = pooled(np.where(cells[..., None], tokens, np.float32(0)), layout.grid)
            else:
                own = share * tokens
            each.append(own - share * base)
        found.append(np.stack(each, axis=1))
    return found


def _stored_name(store: FeatureStore, model: str, scale: str) -> str:
    """The full name of the merged map if it is stored, else of the scale as given."""
    asked = store.resolve(f"{model}@{scale}") if ".unpooled" in scale else None
    if asked is None:
        held, plain = store.sources(), f"{model}@{scale}"
        try:
            merged = str(store.resolve(f"{plain}.unpooled"))
        except InputError:
            merged = ""
        asked = store.resolve(merged if merged in held else plain)
    if len(asked.scales) > 1:
        raise InputError(f"{scale!r} names {len(asked.scales)} scales; separate them: 1x 2x")
    if store.source(asked).kept:
        raise InputError(
            f"{asked} keeps {store.source(asked).kept} tokens of each image; selection needs whole "
            "maps: extract without --tokens-per-image"
        )
    return str(asked)


def _facts(store: FeatureStore, name: str) -> dict[str, Any]:
    """Facts in the manifest about how the scale was run."""
    facts = store.source(name).manifest.get("scale")
    if not isinstance(facts, dict) or "crops" not in facts:
        raise InputError(
            f"the manifest of {name} in {store.path} does not name its crops; expected maps that "
            "`workbench extract` stored"
        )
    if "selection" in store.source(name).manifest:
        raise InputError(
            f"{name} in {store.path} was extracted with --select, so not all of its crops were "
            "run; expected maps of all crops"
        )
    return facts


def _scale(name: str, facts: dict[str, Any], grid: Grid) -> ScaleLayout:
    crops, crop, base = (tuple(facts[key]) for key in ("crops", "crop", "base"))
    if facts["whole"] or crops == (1, 1):
        raise InputError(f"{name} runs in one piece; expected a scale that is cut into crops")
    crop_grid = (grid[0] * crop[0] // base[0], grid[1] * crop[1] // base[1])
    merged = (
        -(-facts["height"] * crop_grid[0] // crop[0]),
        -(-facts["width"] * crop_grid[1] // crop[1]),
    )
    return ScaleLayout.of(
        name, crops=crops, crop_grid=crop_grid, merged=merged, grid=grid,
        unpooled=facts["unpooled"],
    )  # fmt: skip
