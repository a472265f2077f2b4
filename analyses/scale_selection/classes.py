"""The task of a logistic head on the mean token: classes of images, measured by accuracy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analyses import probe
from analyses.configs import ProbeConfig
from analyses.linear.head import Head
from analyses.reading.labels import match_labels
from analyses.reading.pooled import FeatureRows
from analyses.scale_selection.config import SelectionConfig
from analyses.scale_selection.gains import Loss
from analyses.scale_selection.task import FilledMaps, cross_entropy, outputs
from feature_store import FeatureStore

ABSENT = 10.0
"""Nats by which a class without training images is less likely than any other class."""


class ProbeTask:
    """Classification by a logistic head on the mean token, measured by accuracy."""

    name = "probe"
    metric_name = "accuracy"
    sources = ()

    def __init__(self, stores: tuple[FeatureStore, FeatureStore], config: SelectionConfig) -> None:
        train, test = stores
        split = match_labels(train, test, np.arange(len(train)), np.arange(len(test)))
        self.rows = (split.train_rows, split.test_rows)
        self.classes = len(split.names)
        self.labels = tuple(np.full(len(store), -1) for store in stores)
        for into, kept, found in zip(
            self.labels, self.rows, (split.train, split.test), strict=True
        ):
            into[kept] = found
        self.options = ProbeConfig(seed=config.seed)

    def cells(self, maps: np.ndarray) -> np.ndarray:
        return maps.mean((-3, -2), dtype=np.float32)[..., None, :]

    def fit(self, batches: Iterable[FilledMaps], penalty: float | None) -> tuple[Head, float]:
        parts = [(seen.x[:, 0], self.labels[0][seen.index]) for seen in batches]
        x, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        # Some classes may be missing in a part of the images.
        present, numbers = np.unique(labels, return_inverse=True)
        options = ProbeConfig(seed=self.options.seed, l2=penalty)
        head, l2 = probe.train_head(FeatureRows.of(x), numbers, len(present), options)
        weight = np.zeros((x.shape[1], self.classes))
        bias = np.full(self.classes, head.bias.min() - ABSENT)
        weight[:, present], bias[present] = head.weight, head.bias
        return Head(weight, bias), l2

    def loss(self, seen: FilledMaps) -> Loss:
        return cross_entropy(self.labels[seen.side][seen.index][:, None])

    def sums(self, head: Head, seen: FilledMaps) -> list[np.ndarray]:
        hits = outputs(head, seen.x)[:, 0].argmax(1) == self.labels[1][seen.index]
        return [np.array([hit, 1.0]) for hit in hits]

    def metric(self, total: np.ndarray) -> float:
        return float(total[0] / total[1])
