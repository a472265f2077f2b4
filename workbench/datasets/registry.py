"""Every kind of dataset behind one door: :func:`open`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import Dataset
from workbench.datasets.bundled.photos import open_photos
from workbench.datasets.bundled.scenes import open_scenes
from workbench.datasets.bundled.stereo import open_stereo
from workbench.datasets.bundled.textiles import open_textiles
from workbench.datasets.decode import Decoding
from workbench.datasets.folder import open_folder
from workbench.datasets.hub import open_hub
from workbench.datasets.table import open_csv
from workbench.datasets.torchvision_data import open_torchvision
from workbench.datasets.views import open_view

if TYPE_CHECKING:
    from feature_store import FeatureStore

BUNDLED: dict[str, Callable[[DatasetName], Dataset]] = {
    "textiles": open_textiles,
    "photos": open_photos,
    "scenes": open_scenes,
    "stereo": open_stereo,
}
"""Name of a bundled dataset → what opens it."""
KINDS: dict[str, Callable[[DatasetName], Dataset]] = {
    "folder": open_folder,
    "csv": open_csv,
    "torchvision": open_torchvision,
    "hf": open_hub,
    "bundled": lambda name: _bundled(name.name)(name),
}
"""Kind of dataset → what opens it; a view opens the dataset that it is of."""


def open(name: str, *, limit: int | None = None, decoding: Decoding | None = None) -> Dataset:
    """The dataset of that name; no image is decoded yet.

    Parameters
    ----------
    name : str
        One of ``folder:DIR``, ``csv:FILE``, ``torchvision:NAME:SPLIT:ROOT``, ``hf:NAME:SPLIT``,
        ``bundled:NAME[:train|:test]``, or ``view:K:`` and one of these.
    limit : int, optional
        Keep the first ``limit`` images. For bundled datasets these are a fair sample.
    decoding : Decoding, optional
        How bytes become pixels; by default ``Decoding()``.

    Raises
    ------
    InputError
        Unknown form or name (the nearest valid ones are listed), or nothing readable there.

    Examples
    --------
    >>> dataset = open("bundled:textiles:test", limit=4)
    >>> dataset.image(0).shape
    (250, 250, 3)
    """
    return _open(DatasetName.parse(name), decoding or Decoding()).take(limit)


def open_of(store: FeatureStore, *, decoding: Decoding | None = None) -> Dataset:
    """The dataset that a store was made of: at the path that it records, or else by its name.

    Raises
    ------
    InputError
        It is at neither.
    """
    try:
        return open(store.located_dataset, decoding=decoding)
    except InputError as error:
        try:
            return open(
                store.dataset, decoding=decoding
            )  # as typed: below this folder, or on another machine
        except InputError:
            raise error from None


def _open(name: DatasetName, decoding: Decoding) -> Dataset:
    if name.of is not None:
        return open_view(name, _open(name.of, decoding))
    return replace(KINDS[name.kind](name), decoding=decoding)


def _bundled(name: str) -> Callable[[DatasetName], Dataset]:
    if name not in BUNDLED:
        near = get_close_matches(name, BUNDLED, n=1, cutoff=0.5)
        guess = f" (did you mean bundled:{near[0]}?)" if near else ""
        raise InputError(
            f"no bundled dataset {name!r}{guess}; there are: "
            + ", ".join(f"bundled:{b}" for b in BUNDLED)
        )
    return BUNDLED[name]
