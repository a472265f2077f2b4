"""Photographs of a store's images as each model saw them, or why they are missing."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from PIL import Image

from feature_store import FeatureStore, InputError
from feature_store.recorded_images import RecordedImages, recorded_images
from workbench import datasets
from workbench.datasets import Dataset, DecodeError
from workbench.datasets.pictures import recorded_decoding
from workbench.models import Transform

KEPT = 64
"""Decoded photographs that are kept: about 10 MB at 224 pixels."""


class Photographs:
    """Reads photographs of a store through the dataset that it names; writes nothing."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._transforms: dict[str, Transform | None] = {}
        self._kept = lru_cache(maxsize=KEPT)(self._seen)

    def __call__(self, row: int, source: str) -> np.ndarray | str:
        """RGB uint8 as the source's model saw the image, or the reason why it is missing."""
        return self._kept(row, self._transform(source))

    @cached_property
    def _dataset(self) -> Dataset | str:
        try:
            return datasets.open_of(self._store, decoding=recorded_decoding(self._store))
        except InputError as error:
            return str(error)

    @cached_property
    def _recorded(self) -> RecordedImages:
        return recorded_images(self._store)

    @cached_property
    def _places(self) -> dict[str, int]:
        assert isinstance(self._dataset, Dataset)
        return self._dataset.places()

    def _seen(self, row: int, transform: Transform | None) -> np.ndarray | str:
        if isinstance(self._dataset, str):
            return self._dataset
        image_id = str(self._store.image_ids[row])
        if image_id not in self._places:
            return f"{self._dataset.name} no longer holds {image_id}"
        try:
            picture = self._dataset.image(self._places[image_id])
            if not self._recorded.may_be(row, picture):
                return f"{image_id} is another picture now than when its features were stored"
            return picture if transform is None else transform(Image.fromarray(picture))
        except DecodeError as error:
            return f"{image_id}: {error.reason}"

    def _transform(self, source: str) -> Transform | None:
        """The transform in the manifest of the source's first scale; None if it has none."""
        if source not in self._transforms:
            first = self._store.resolve(source).singles()[0]
            recorded = self._store.source(first).manifest.get("transform")
            self._transforms[source] = Transform.stored(recorded) if recorded else None
        return self._transforms[source]
