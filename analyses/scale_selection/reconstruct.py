"""The task of reconstructing another source by least squares, measured by information in bits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analyses import reconstruction
from analyses.linear.head import Head
from analyses.moments.one_pass import moments_of
from analyses.moments.second_moments import MomentsConfig
from analyses.reading.grids import TokenBatch, average_to, common_grid
from analyses.reconstruction.question import ReconstructionQuestion
from analyses.scale_selection.gains import Loss
from analyses.scale_selection.task import FilledMaps, outputs
from analyses.statistics.information import bits
from feature_store import FeatureStore, InputError


class ReconstructTask:
    """Least squares from the maps to another source, on their common grid; information in bits."""

    name = "reconstruct"
    metric_name = "info_bits"

    def __init__(
        self, stores: tuple[FeatureStore, FeatureStore], target: str, grid: tuple[int, int]
    ) -> None:
        self.target = str(stores[0].resolve(target))
        self.sources = ReconstructionQuestion.parts(self.target)
        grids = [stores[0].source(single).grid for single in self.sources]
        self.grid = common_grid([grid, *grids])
        self.rows = tuple(np.ones(len(store), bool) for store in stores)
        self._mean: np.ndarray | None = None

    def cells(self, maps: np.ndarray) -> np.ndarray:
        flat = maps.reshape(-1, *maps.shape[-3:])
        return average_to(flat, self.grid).reshape(*maps.shape[:-3], -1, maps.shape[-1])

    def _target(self, seen: FilledMaps) -> np.ndarray:
        return np.concatenate([self.cells(seen.extra[name]) for name in self.sources], axis=-1)

    def fit(self, batches: Iterable[FilledMaps], penalty: float | None) -> tuple[Head, float]:
        tokens = (
            TokenBatch(seen.index, {"x": seen.x[:, :, None], "y": self._target(seen)[:, :, None]})
            for seen in batches
        )
        moments = moments_of(tokens, ("x", "y"), MomentsConfig(targets=("y",)))
        if moments is None:
            raise InputError("no training image is readable")
        ridge = "auto" if penalty is None else penalty
        options = reconstruction.ReconstructionConfig(ridge=ridge)
        best = reconstruction.fit(moments, ["x"], ["y"], options)
        self._mean = best.mean_y
        return Head(best.weights, best.mean_y - best.mean_x @ best.weights), best.ridge

    def loss(self, seen: FilledMaps) -> Loss:
        y = self._target(seen)[:, None]
        return lambda z: np.square(z - y).mean((-1, -2), dtype=np.float64)

    def sums(self, head: Head, seen: FilledMaps) -> list[np.ndarray]:
        y, mean = self._target(seen), self._mean
        errors = np.square(outputs(head, seen.x) - y).mean((1, 2), dtype=np.float64)
        null = np.square(y - mean).mean((1, 2), dtype=np.float64)
        return list(np.stack([errors, null], axis=1))

    def metric(self, total: np.ndarray) -> float:
        return float(bits(total[0], total[1]))
