"""The pictures behind a store's rows, for galleries and overlays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from feature_store import FeatureStore, InputError
from feature_store.recorded_images import decoders, recorded_images
from workbench.datasets.decode import DecodeError, Decoding
from workbench.datasets.registry import open_of
from workbench.models.transform import Transform
from workbench.results.messages import note

Reader = Callable[[int], np.ndarray | None]


def reader(store: FeatureStore) -> Reader:
    """Store row to RGB uint8 (row, col, 3), through the dataset that the store names.

    A row whose picture cannot be read, or is another one now, gives None; if the whole dataset is
    gone, every row does, and a line on standard error gives the reason.
    """
    try:
        dataset = open_of(store, decoding=recorded_decoding(store))
    except InputError as error:
        note(f"no pictures of {store.path}: {error}")
        return lambda row: None
    position = dataset.places()
    recorded = recorded_images(store)

    def read(row: int) -> np.ndarray | None:
        try:
            picture = dataset.image(position[str(store.image_ids[row])])
        except (DecodeError, KeyError):
            return None
        return picture if recorded.may_be(row, picture) else None

    return read


def as_seen(store: FeatureStore, source: str) -> Reader:
    """Like :func:`reader`, resized and cropped as the source's model saw the picture.

    Whole, where another tool made the features.
    """
    read = reader(store)
    if store.source(store.resolve(source).singles()[0]).manifest.get("foreign") is True:
        return read
    transform = recorded_transform(store, source)

    def seen(row: int) -> np.ndarray | None:
        picture = read(row)
        return None if picture is None else transform(Image.fromarray(picture))

    return seen


def recorded_decoding(store: FeatureStore) -> Decoding:
    """How the images of the store's first source were decoded; the default in an empty store."""
    return Decoding.recorded(next(iter(decoders(store)), ""))


def recorded_transform(store: FeatureStore, source: str) -> Transform:
    """The transform in the manifest of the source's first scale.

    Raises
    ------
    InputError
        Another tool made the features, and the manifest does not say which part of an image they
        are of.
    """
    recorded = store.manifest(store.resolve(source).singles()[0]).get("transform")
    if recorded is None:
        raise InputError(
            f"the manifest of {source} in {store.path} names no transform, which tells the part of "
            "an image under each token; choose a source that `workbench extract` stored"
        )
    return Transform.stored(recorded)
