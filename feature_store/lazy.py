"""Lazy labelled arrays over stored sources: S2 composition that reads only requested rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from feature_store.errors import InputError, StoreError
from feature_store.metadata import DIMS, FILL
from feature_store.stored_source import StoredSource

MERGES = ("concat", "add")


class ComposedArray(BackendArray):
    """Scales of one model, concatenated on the channel axis (concat) or summed (add).

    Indexing gathers rows shard by shard and reads only the shards it needs. ``concat`` keeps the
    stored dtype; ``add`` returns float32, so that the sum of float16 maps cannot overflow.
    """

    def __init__(
        self, singles: list[StoredSource], name: str, merge: str, incomplete: bool
    ) -> None:
        self.singles = singles
        self.name = name
        self.merge = merge
        self.incomplete = incomplete
        layouts = [single.arrays[name] for single in singles]
        channels = [layout.shape[-1] for layout in layouts]
        width = sum(channels) if merge == "concat" else channels[0]
        if name == "position":
            width = channels[0]
        self.shape = (singles[0].images, *layouts[0].shape[1:-1], width)
        stored = np.result_type(*(layout.dtype for layout in layouts))
        self.dtype = stored if merge == "concat" or len(singles) == 1 else np.dtype("float32")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )

    def _outer(self, key: tuple[Any, ...]) -> np.ndarray:
        """Orthogonal indexing with ints, slices and integer arrays, one per dim."""
        rows = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        inner = tuple(
            np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape[1:], key[1:], strict=True)
        )
        whole = all(
            len(i) == n and (np.diff(i) == 1).all()
            for n, i in zip(self.shape[1:], inner, strict=True)
        )
        out = np.empty((len(rows), *(len(i) for i in inner)), self.dtype)
        shards = rows // self.singles[0].shard_images
        for shard in np.unique(shards):
            chosen = np.nonzero(shards == shard)[0]
            part = self.block(int(shard), rows[chosen] % self.singles[0].shard_images)
            out[chosen] = part if whole else part[np.ix_(np.arange(len(chosen)), *inner)]
        squeeze = tuple(axis for axis, k in enumerate(key) if isinstance(k, int | np.integer))
        return out.squeeze(axis=squeeze)

    def block(self, shard: int, rows: np.ndarray | slice) -> np.ndarray:
        """Rows (counted from the shard's first) of all scales, merged: (n, ..., channel)."""
        parts = [self._part(single, shard, rows) for single in self.singles]
        if len(parts) == 1:
            return parts[0]
        if all(single.is_committed(shard) for single in self.singles):
            refuse_other_positions(self.singles, shard)
        if self.merge == "concat":
            return np.concatenate(parts, axis=-1)
        return np.stack(parts).sum(axis=0, dtype=np.float32)

    def _part(self, single: StoredSource, shard: int, rows: np.ndarray | slice) -> np.ndarray:
        if self.incomplete and not single.is_committed(shard):
            layout = single.arrays[self.name]
            shape = (len(single.rows(shard)), *layout.shape[1:])
            return np.full(shape, FILL[self.name], layout.dtype)[rows]
        return single.shard(shard)[self.name][rows]


def compose(singles: list[StoredSource], name: str, merge: str, incomplete: bool) -> ComposedArray:
    """Check that scales can be composed, and compose them.

    Raises
    ------
    InputError
        Unknown merge; no prefix tokens; token grids that differ; ``add`` over different widths.
    StoreError
        A scale is incomplete and `incomplete` is false.
    """
    label = "+".join(str(single.source) for single in singles)
    if merge not in MERGES:
        raise InputError(f"merge {merge!r} is unknown; choose one of {', '.join(MERGES)}")
    if any(name not in single.arrays for single in singles):
        raise InputError(f"{label} has no {name} tokens stored")
    shapes = {single.arrays[name].shape[1:-1] for single in singles}
    if len(shapes) > 1:
        raise InputError(
            f"{label}: the scales have different token grids {sorted(shapes)}; compose pooled "
            f"scales, or pool the unpooled one first"
        )
    if merge == "add" and len({single.channels for single in singles}) > 1:
        raise InputError(f"{label}: add needs equal channel counts")
    if not incomplete:
        for single in singles:
            single.require_complete()
    return ComposedArray(singles, name, merge, incomplete)


def labelled(
    array: ComposedArray,
    image_ids: np.ndarray,
    attrs: dict[str, Any],
    classes: np.ndarray | None = None,
) -> xr.DataArray:
    """The composed array with named dims, image ids, class names and the scale of each channel.

    netCDF has no float16: files are written in float32.
    """
    dims = DIMS[array.name, len(array.shape)]
    names = [single.source.scales[0] for single in array.singles]
    coords: dict[str, Any] = {"image": image_ids}
    if classes is not None:
        coords["label"] = ("image", classes)
    if array.merge == "concat":
        coords["scale"] = ("channel", np.repeat(names, [s.channels for s in array.singles]))
    if "token" in dims:  # flat position row * cols + col of each kept token, of the first scale
        place = ComposedArray(array.singles[:1], "position", "concat", array.incomplete)
        lazy_place = xr.Variable(("image", "token"), indexing.LazilyIndexedArray(place))
        coords["position"] = lazy_place
        attrs = attrs | {"grid": array.singles[0].grid}
    lazy = indexing.LazilyIndexedArray(array)
    made = xr.DataArray(xr.Variable(dims, lazy), coords=coords, name=array.name, attrs=attrs)
    made.encoding["dtype"] = np.dtype("float32")
    return made


def as_map(tokens: np.ndarray) -> np.ndarray:
    """(n, row, col, channel) unchanged; (n, token, channel) as (n, token, 1, channel)."""
    return tokens if tokens.ndim == 4 else tokens[:, :, None, :]


def refuse_other_positions(singles: list[StoredSource], shard: int) -> None:
    """Refuse sources whose tokens cannot be paired: they keep different positions.

    Raises
    ------
    StoreError
        Whole maps and a subset, or subsets at different positions.
    """
    if not any(single.kept for single in singles):
        return
    first = singles[0]
    for other in singles[1:]:
        same = first.kept == other.kept and first.grid == other.grid
        if not same or not np.array_equal(
            first.shard(shard)["position"], other.shard(shard)["position"]
        ):
            raise StoreError(
                f"{first.source} keeps {first.kept or 'all'} token positions of a {first.grid} "
                f"grid and {other.source} {other.kept or 'all'} of {other.grid}, or not the same "
                f"ones; their tokens cannot be paired. Extract both with the same "
                f"--tokens-per-image"
            )
