"""Token maps of one store; reads only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from analyses.moments.one_pass import from_batches
from analyses.moments.second_moments import Moments, MomentsConfig
from analyses.moments.tensors import as_tensor
from analyses.reading.features import require_maps, singles
from analyses.reading.grids import on_common_grid
from analyses.reconstruction.token_loss import FittedMaps, fit_maps
from analyses.statistics.embedding import embed
from analyses.token_maps import Basis, TokenProbe, fit_basis, fit_probe, held_out_loss
from analyses.token_maps.sample import sampled_for_images
from feature_store import FeatureStore, InputError, Source
from workbench.pictures.maps import with_parts
from workbench.pictures.once import Once, once
from workbench.pictures.photographs import Photographs

FITTED_IMAGES = 4096
"""Largest number of images to fit reconstruction maps on."""
SHOWN_IMAGES = 10_000
"""Largest number of images in the scatter and the probe."""
BLOCK_IMAGES = 128
"""Images whose tokens are in memory at a time to compute losses."""


@dataclass(frozen=True)
class ImageVectors:
    """Mean tokens of sampled images."""

    rows: np.ndarray
    """(image,) int64: store rows, ascending; images that failed are left out."""
    features: np.ndarray
    """(image, channel) float32."""


class StoredMaps:
    """Token maps of a store's sources and results derived from them, each computed once.

    Reconstruction maps are fitted on `train`, by default the store itself.
    """

    def __init__(self, store: FeatureStore, train: FeatureStore | None = None) -> None:
        self.store, self.train = store, train or store
        self.photographs = Photographs(store)
        self.image_ids = store.image_ids
        self.sources, self.left_out = offered(store)
        self.default = self.sources[:1]
        self._once = Once()

    def parts(self, source: str) -> list[str]:
        """Full names of the source itself and, if it has several scales, each single scale."""
        return with_parts(self.store.resolve(source))

    def grid(self, source: str) -> tuple[int, int]:
        """Rows and columns of the source's maps."""
        return self.store.source(self.store.resolve(source).singles()[0]).grid

    def tokens(self, source: str, row: int) -> np.ndarray:
        """float32, dims (row, col, channel); NaN for an image that failed."""
        return self._features(source)[row].values.astype(np.float32)

    @once
    def basis(self, source: str) -> Basis:
        """The principal basis of the source over the store."""
        return fit_basis(self.store, source)

    def warm(self) -> None:
        """Compute the first contents of a page ahead, in a thread."""
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        with contextlib.suppress(InputError):  # a request for it reports the error
            for source in self.parts(self.sources[0]):
                self.basis(source)
                self.tokens(source, 0)
            self.photograph(0, self.sources[0])

    def photograph(self, row: int, source: str) -> np.ndarray | str:
        """RGB uint8 as the source's model saw the image, or why it cannot be shown."""
        return self.photographs(row, source)

    def failure(self, source: str, row: int) -> str | None:
        """Why the image has no features in this source; None where it has them."""
        for single in singles(self.store, source):
            if why := self._failed(single).get(row):
                return why
        return None

    def moments(self, names: Sequence[str]) -> Moments:
        """Second moments of the named sources over sampled training images, on a common grid."""
        used = list(dict.fromkeys(s for name in names for s in singles(self.train, name)))
        return self._moments(sorted(used))

    @once
    def reconstruction(self, target: str, sources: Sequence[str]) -> FittedMaps:
        """Maps to the target, fitted on sampled training images."""
        return fit_maps(self.moments([*sources, target]), self.train, target, sources)

    @once
    def reconstruction_loss(self, target: str, source: str) -> np.ndarray:
        """Mean loss of each image of :meth:`vectors` over its null loss, float64."""
        maps, rows, parts = self.reconstruction(target, [source]), self.vectors(source).rows, []
        for start in range(0, len(rows), BLOCK_IMAGES):
            found = maps.losses(self.store, rows[start : start + BLOCK_IMAGES].tolist())
            mean = found.mean(("row", "col"))
            parts.append((mean["loss"][0] / mean["null_loss"]).values)
        return np.concatenate(parts)

    @once
    def vectors(self, source: str) -> ImageVectors:
        """Mean tokens of at most about :data:`SHOWN_IMAGES` images."""
        shards = sampled_for_images(self.store, source, SHOWN_IMAGES)
        rows, features = [], []
        for batch in self.store.stream([source], shards=shards):
            rows.append(batch.index)
            features.append(as_tensor(batch.tokens[source]).float().mean((1, 2)).numpy())
        if not rows:
            raise InputError(f"{self.store.path} holds no readable image for {source}")
        return ImageVectors(np.concatenate(rows), np.concatenate(features))

    @once
    def layout(self, source: str, method: str) -> np.ndarray:
        """Two coordinates for each image of :meth:`vectors`, dims (image, 2)."""
        return embed(self.vectors(source).features, method)

    @once
    def probe(self, source: str) -> TokenProbe:
        """A probe of the store's labels, for single tokens."""
        return self._probe(source, fit_probe)

    @once
    def probe_loss(self, source: str) -> np.ndarray:
        """Held-out loss of each image of :meth:`vectors`, in nats."""
        return self._probe(source, held_out_loss)

    @once
    def _features(self, source: str) -> xr.DataArray:
        require_maps(self.store, source)
        return self.store.features(source)

    @once
    def _failed(self, single: str) -> dict[int, str]:
        return self.store.source(single).failed_rows()

    @once
    def _moments(self, used: list[str]) -> Moments:
        shards = sampled_for_images(self.train, used[0], FITTED_IMAGES)
        batches = map(on_common_grid, self.train.stream(used, shards=shards))
        moments = from_batches(batches, used, MomentsConfig())
        moments.attrs["grid"] = "pool"
        return moments

    def _probe(self, source, fit):
        if not (self.store.labels >= 0).any():
            raise InputError(f"{self.store.path} has no labels; a probe needs them")
        found = self.vectors(source)
        return fit(found.features, self.store.labels[found.rows])


def offered(store: FeatureStore) -> tuple[list[str], dict[str, str]]:
    """Sources to show, and the sources left out, each with the reason.

    Sources with complete maps are shown: models with most scales first; of each model all scales
    together, then each scale.

    Examples
    --------
    >>> offered(feature_store.open("runs/demo/train.zarr"))[0][0]           # doctest: +SKIP
    'bundled:efficientnet_lite0#blocks@1x+2x'
    """
    whole: dict[tuple, list[Source]] = {}
    left_out: dict[str, str] = {}
    for single in map(Source.parse, store.sources()):
        stored = store.source(single)
        if stored.kept:
            total = stored.grid[0] * stored.grid[1]
            left_out[str(single)] = f"keeps {stored.kept} of {total} token positions: no map"
        elif missing := stored.missing():
            left_out[str(single)] = f"incomplete: {len(missing)} shards are missing"
        else:
            plain = single.scales[0].replace("x", "").isdecimal()
            alike = (single.model, single.tap, stored.grid) if plain else (single,)
            whole.setdefault(alike, []).append(single)
    names = []
    for group in sorted(whole.values(), key=len, reverse=True):
        scales = sorted((s.scales[0] for s in group), key=lambda s: (len(s), s))
        names += with_parts(Source(group[0].model, group[0].tap, tuple(scales)))
    return names, left_out
