"""Contents of an export: features in blocks, ids, labels and their origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from analyses.reading.labelled_tokens import good_rows
from analyses.reading.pooled import pool
from feature_store import FeatureStore, InputError, protocol

ExportPooling = Literal["mean", "prefix", "none"]


@dataclass(frozen=True)
class Exported:
    """Features of the readable images of a store, in row order."""

    store: FeatureStore
    source: str
    """Full name ``MODEL#TAP@SCALES``."""
    pooling: ExportPooling
    rows: np.ndarray = field(repr=False)
    """(image,) int64: store rows."""

    @classmethod
    def of(cls, store: FeatureStore, source: str, pooling: ExportPooling) -> Exported:
        """Select the readable images of a complete source.

        Raises
        ------
        InputError
            No image could be read.
        StoreError
            It is not stored, incomplete, or has no prefix tokens though they are asked for.
        """
        resolved = str(store.resolve(source))
        store.prefix(resolved) if pooling == "prefix" else store.features(resolved)
        rows = good_rows(store, resolved)
        if not len(rows):
            raise InputError(f"{store.path} holds no readable image for {resolved}")
        return cls(store, resolved, pooling, rows)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dims of the features."""
        view = self.store.features(self.source)
        return tuple(map(str, view.dims)) if self.pooling == "none" else ("image", "channel")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the features; the first dim is the images."""
        view = self.store.features(self.source)
        inner = view.shape[1:] if self.pooling == "none" else view.shape[-1:]
        return len(self.rows), *inner

    @property
    def dtype(self) -> np.dtype:
        """Stored dtype of tokens, float32 of pooled vectors."""
        pooled = self.pooling != "none"
        return np.dtype(np.float32) if pooled else self.store.features(self.source).dtype

    @property
    def image_ids(self) -> list[str]:
        return self.store.image_ids[self.rows].tolist()

    @property
    def labels(self) -> np.ndarray:
        """(image,) int32: index into the store's class names, -1 = unlabelled."""
        return self.store.labels[self.rows]

    def blocks(self) -> Iterator[np.ndarray]:
        """The features, some images at a time, C-contiguous in :attr:`dtype`."""
        if self.pooling == "none":
            for batch in self.store.stream([self.source]):
                shape = (len(batch.index), *self.shape[1:])
                yield np.ascontiguousarray(batch.tokens[self.source]).reshape(shape)
        else:
            pooled = pool(self.store, [self.source], self.pooling)
            yield from pooled.features(self.source).blocks()

    def positions(self) -> np.ndarray | None:
        """(image, token) int32: ``row * cols + col`` of each kept token; None for whole maps."""
        view = self.store.features(self.source)
        if self.pooling != "none" or "position" not in view.coords:
            return None
        return view.coords["position"].values[self.rows]

    def about(self) -> dict:
        """The origin of the features, as one JSON-able object."""
        singles = self.store.resolve(self.source).singles()
        stored = {str(single): self.store.source(single) for single in singles}
        return {
            "source": self.source,
            "pooling": self.pooling,
            "dims": list(self.dims),
            "grid": list(next(iter(stored.values())).grid),
            "dataset": self.store.dataset,
            "label_names": self.store.label_names,
            "image_ids_sha256": protocol.ids_sha256(self.image_ids),
            "failed": {
                str(self.store.image_ids[row]): reason
                for one in stored.values()
                for row, reason in one.failed_rows().items()
            },
            "identities": {name: one.identity for name, one in stored.items()},
            "manifests": {name: one.manifest for name, one in stored.items()},
        }

    def about_text(self) -> str:
        """:meth:`about` as JSON."""
        return json.dumps(self.about(), sort_keys=True)
