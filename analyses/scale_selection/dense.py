"""The tasks of a head on every token: segmentation (mean IoU) and depth (RMSE) over pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from analyses import dense_probe
from analyses.configs import DenseConfig
from analyses.linear.head import Head
from analyses.reading import target_maps
from analyses.reading.labelled_tokens import TargetMaps, TrainingTokens
from analyses.scale_selection.config import SelectionConfig
from analyses.scale_selection.gains import Loss
from analyses.scale_selection.task import FilledMaps, cross_entropy, mean_of_known, outputs
from analyses.statistics.dense_scores import count_pixels
from feature_store import FeatureStore, InputError
from feature_store.subsample import positions


class DenseTask:
    """Segmentation or depth by a head on every token, measured by mean IoU or RMSE over pixels."""

    sources = ()

    def __init__(
        self,
        stores: tuple[FeatureStore, FeatureStore],
        targets: tuple[TargetMaps, TargetMaps],
        grid: tuple[int, int],
        task: Literal["segmentation", "depth"],
        config: SelectionConfig,
    ) -> None:
        segments = task == "segmentation"
        self.name, self.metric_name = task, "miou" if segments else "rmse"
        self.stores, self.targets, self.grid = stores, targets, grid
        self.options = DenseConfig(
            task=task, seed=config.seed, train_tokens=config.train_tokens,
            l2=config.l2, ridge=config.ridge, resamples=config.resamples,
            keep_shared=config.keep_shared,
        )  # fmt: skip
        self.rows = tuple(np.ones(len(store), bool) for store in stores)
        self._of_tokens: dict[tuple[int, int], np.ndarray] = {}
        self._target: Callable = target_maps.majority if segments else target_maps.mean_depth

    def cells(self, maps: np.ndarray) -> np.ndarray:
        return maps.reshape(*maps.shape[:-3], -1, maps.shape[-1])

    def _tokens(self, side: int, rows: np.ndarray) -> np.ndarray:
        """Targets of the tokens: float64, dims (image, cell), NaN = nothing known."""
        for row in rows:
            if (side, row) not in self._of_tokens:
                under = target_maps.cells(self.targets[side][int(row)], self.grid)
                self._of_tokens[side, row] = self._target(under)
        return np.stack([self._of_tokens[side, row] for row in rows])

    def fit(self, batches: Iterable[FilledMaps], penalty: float | None) -> tuple[Head, float]:
        tokens, images = self.grid[0] * self.grid[1], int(self.rows[0].sum())
        each = max(1, min(tokens, self.options.train_tokens // max(images, 1)))
        x, y, image = [], [], [np.empty(0, np.int64)]
        for seen in batches:
            ids = self.stores[0].image_ids[seen.index].tolist()
            places = positions(ids, self.grid, each, self.options.seed).astype(np.int64)
            drawn = np.take_along_axis(self._tokens(0, seen.index), places, axis=1)
            known = ~np.isnan(drawn)
            x.append(np.take_along_axis(seen.x, places[:, :, None], axis=1)[known])
            y.append(drawn[known])
            image.append(np.repeat(seen.index, known.sum(1)))
        if not x:
            raise InputError("no training image is readable")
        some = TrainingTokens(
            np.concatenate(x), np.concatenate(y), np.concatenate(image), images, each
        )
        return dense_probe.fit_head(some, self.options, penalty)

    def loss(self, seen: FilledMaps) -> Loss:
        truth = self._tokens(seen.side, seen.index)
        if self.name == "segmentation":
            return cross_entropy(np.where(np.isnan(truth), -1, truth).astype(np.int64))
        known = ~np.isnan(truth)[:, None]
        errors = np.nan_to_num(truth)[:, None, :, None]
        return lambda z: mean_of_known(np.square(z - errors)[..., 0], known)

    def sums(self, head: Head, seen: FilledMaps) -> list[np.ndarray]:
        maps = outputs(head, seen.x).reshape(len(seen.x), *self.grid, -1)
        pairs = zip(maps, seen.index, strict=True)
        return [count_pixels(out, self.targets[1][int(row)], self.options) for out, row in pairs]

    def metric(self, total: np.ndarray) -> float:
        by_class = total.reshape(3, -1)
        if self.name == "segmentation":
            return target_maps.mean_iou(by_class)
        return target_maps.rmse(by_class)
