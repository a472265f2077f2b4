"""Filled maps, predictors and gains of crops in a study of scale selection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from analyses.linear.head import Head
from analyses.scale_selection.config import SelectionConfig
from analyses.scale_selection.gains import greedy
from analyses.scale_selection.layout import Layout, deltas, fill
from analyses.scale_selection.policies import choose
from analyses.scale_selection.table import Point
from analyses.scale_selection.task import FilledMaps, Task, outputs, resampled
from analyses.statistics.dense_scores import padded
from feature_store import FeatureStore, InputError

IMAGES = 16
"""Images read at a time."""
Keys = tuple[np.ndarray, np.ndarray]
"""Keys of the training and of the test images, float64, dims (image, crop)."""


@dataclass(eq=False)
class Study:
    """Stores, crops, task and options; keeps the results of predictors that it has fitted."""

    stores: tuple[FeatureStore, FeatureStore]
    layout: Layout
    task: Task
    config: SelectionConfig
    left_out: np.ndarray
    done: Callable[[], object] = lambda: None
    _points: dict[bytes, Point] = field(default_factory=dict)
    _penalties: dict[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        failed = []
        for store in self.stores:
            bad = np.zeros(len(store), bool)
            for name in self.names:
                bad[list(store.source(name).failed_rows())] = True
            failed.append(bad)
        train, test = self.task.rows
        self.rows = (train & ~failed[0], test & ~failed[1] & ~self.left_out)
        for store, rows in zip(self.stores, self.rows, strict=True):
            if not rows.any():
                raise InputError(f"{store.path} has no image that is readable in all sources")

    @property
    def names(self) -> list[str]:
        """Single-scale sources to read."""
        return [self.layout.base, *(s.name for s in self.layout.scales), *self.task.sources]

    @property
    def steps(self) -> int:
        """Largest number of predictors to fit."""
        budgets = len({0.0, *self.config.budgets, 1.0})
        return self.config.folds + 1 + len(self.config.policies) * budgets

    def read(self, side: int, rows: np.ndarray) -> Iterator[tuple[np.ndarray, list, dict]]:
        """Yield row numbers, tokens of base and larger scales, and tokens of the task, float32."""
        names = list(dict.fromkeys(self.names))
        for batch in self.stores[side].stream(names):
            wanted = np.flatnonzero(rows[batch.index])
            for start in range(0, len(wanted), IMAGES):
                part = wanted[start : start + IMAGES]
                found = {n: np.asarray(batch.tokens[n][part], np.float32) for n in names}
                scales = [found[s.name] for s in self.layout.scales]
                extra = {name: found[name] for name in self.task.sources}
                yield batch.index[part], [found[self.layout.base], *scales], extra

    def seen(self, side: int, chosen: np.ndarray, rows: np.ndarray) -> Iterator[FilledMaps]:
        """Yield filled maps; `chosen` has dims (image of the store, crop)."""
        for index, (base, *maps), extra in self.read(side, rows):
            filled = fill(self.layout, base, maps, chosen[index])
            yield FilledMaps(side, index, self.task.cells(filled), extra)

    def fit(
        self, chosen: np.ndarray, budget: float, rows: np.ndarray | None = None
    ) -> tuple[Head, float]:
        """Fit a predictor on filled training maps; its penalty is chosen once for each budget."""
        given = self._given_penalty()
        if given is None:
            given = self._penalties.get(budget)
        batches = self.seen(0, chosen, self.rows[0] if rows is None else rows)
        head, penalty = self.task.fit(batches, given)
        self._penalties.setdefault(budget, penalty)
        self.done()
        return head, penalty

    def _given_penalty(self) -> float | None:
        least_squares = self.task.metric_name in ("info_bits", "rmse")
        return self.config.ridge if least_squares else self.config.l2

    def point(self, keys: Keys, budget: float) -> Point:
        """Fit on training images and measure on test images, both filled by the policy."""
        chosen = [chosen_by(k, rows, budget) for k, rows in zip(keys, self.rows, strict=True)]
        known = b"".join(part.tobytes() for part in chosen)
        if known not in self._points:
            head, penalty = self.fit(chosen[0], budget)
            index, sums = [], []
            for seen in self.seen(1, chosen[1], self.rows[1]):
                index.append(seen.index)
                sums += self.task.sums(head, seen)
            rows, images = np.concatenate(index), len(self.stores[1])
            values = padded(sums).reshape(len(sums), -1).astype(np.float64)
            metric, draws = resampled(self.task, values, rows, images, self.config)
            crops = chosen[1].sum() / self.rows[1].sum()
            counts = (int(self.rows[0].sum()), len(rows))
            self._points[known] = Point(metric, draws, float(crops), penalty, counts)
        return self._points[known]

    def gains(self, side: int, head: Head, rows: np.ndarray, into: list[np.ndarray]) -> None:
        """Write gains and oracle keys of these images into two arrays, dims (image, crop)."""
        channels = np.cumsum([0, *(self.stores[side].source(n).channels for n in self.names)])
        for index, (base, *maps), extra in self.read(side, rows):
            none = np.zeros((len(index), self.layout.count), bool)
            filled = self.task.cells(fill(self.layout, base, maps, none))
            added = []
            for n, delta in enumerate(deltas(self.layout, base, maps), 1):
                own = head.weight[channels[n] : channels[n + 1]].astype(np.float32)
                added.append(self.task.cells(delta) @ own)
            loss = self.task.loss(FilledMaps(side, index, filled, extra))
            found = greedy(outputs(head, filled), np.concatenate(added, axis=1), loss)
            for array, part in zip(into, found, strict=True):
                array[index] = part


def chosen_by(keys: np.ndarray, rows: np.ndarray, budget: float) -> np.ndarray:
    """Crops to run; False for images outside `rows`."""
    chosen = np.zeros(keys.shape, bool)
    chosen[rows] = choose(keys[rows], budget)
    return chosen
