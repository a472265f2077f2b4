"""Every kind of dataset behind one door: :func:`open`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from feature_store import FeatureStore
from feature_store.dataset_name import DatasetName, is_dataset_name
from feature_store.errors import InputError
from workbench.datasets.archives.lmdb_file import open_lmdb
from workbench.datasets.archives.parquet import open_parquet
from workbench.datasets.archives.tar import open_tar
from workbench.datasets.archives.webdataset import open_shards
from workbench.datasets.archives.zip_file import open_zip
from workbench.datasets.base import Dataset
from workbench.datasets.bundled.photos import open_photos
from workbench.datasets.bundled.scenes import open_scenes
from workbench.datasets.bundled.specks import open_specks
from workbench.datasets.bundled.stereo import open_stereo
from workbench.datasets.bundled.textiles import open_textiles
from workbench.datasets.decode import Decoding
from workbench.datasets.folder import open_folder, skipped_below
from workbench.datasets.hub import open_hub, open_saved
from workbench.datasets.imagenet.layouts import LEFT_OUT
from workbench.datasets.imagenet.registry import open_imagenet
from workbench.datasets.lerobot.frames import open_lerobot
from workbench.datasets.mapped.registry import open_mapped
from workbench.datasets.table import open_csv
from workbench.datasets.torchvision_data import open_torchvision
from workbench.datasets.views import open_view

BUNDLED: dict[str, Callable[[DatasetName], Dataset]] = {
    "textiles": open_textiles,
    "photos": open_photos,
    "scenes": open_scenes,
    "specks": open_specks,
    "stereo": open_stereo,
}
"""Name of a bundled dataset → what opens it."""
KINDS: dict[str, Callable[..., Dataset]] = {
    "folder": open_folder,
    "csv": open_csv,
    "torchvision": open_torchvision,
    "maps": open_mapped,
    "imagenet": open_imagenet,
    "hf": open_hub,
    "wds": open_shards,
    "tar": open_tar,
    "zip": open_zip,
    "parquet": open_parquet,
    "hfdisk": open_saved,
    "lmdb": open_lmdb,
    "lerobot": open_lerobot,
    "bundled": lambda name: _bundled(name.name)(name),
}
"""Kind of dataset → what opens it; a view opens the dataset that it is of."""
LISTED = ("wds", "tar", "zip")
"""Kinds whose members are listed once; the list may lie beside a store."""


def open(
    name: str,
    *,
    limit: int | None = None,
    decoding: Decoding | None = None,
    beside: str | None = None,
) -> Dataset:
    """The dataset of that name; no image is decoded yet.

    Parameters
    ----------
    name : str
        One of ``folder:DIR``, ``csv:FILE``, ``torchvision:NAME:SPLIT:ROOT``,
        ``maps:NAME:SPLIT:ROOT``, ``imagenet:NAME:ROOT``, ``hf:NAME:SPLIT``,
        ``wds:URLS``, ``tar:FILE``, ``zip:FILE``, ``parquet:FILES``, ``hfdisk:DIR``, ``lmdb:DIR``,
        ``lerobot:DIR[#CAMERA]``, ``bundled:NAME[:train|:test]``, or ``view:K:`` and one of these.
    limit : int, optional
        Keep the first ``limit`` images. For bundled datasets these are a fair sample.
    decoding : Decoding, optional
        How bytes become pixels; by default ``Decoding()``.
    beside : str, optional
        Folder or URL of the store beside which lists of archives' members are kept; by default they
        are in the user's cache.

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
    return _open(DatasetName.parse(name), decoding or Decoding(), beside).take(limit)


def open_of(store: FeatureStore, *, decoding: Decoding | None = None) -> Dataset:
    """The dataset that a store was made of: at the path that it records, or else by its name.

    Raises
    ------
    InputError
        It is at neither.
    """
    try:
        return open(store.located_dataset, decoding=decoding, beside=store.path)
    except InputError as error:
        try:
            # As typed: below this folder, or on another machine.
            return open(store.dataset, decoding=decoding, beside=store.path)
        except InputError:
            raise error from None


def skipped_files(name: str, path: str = "", beside: str | None = None) -> dict[str, int]:
    """Files of a folder or members of archives that are not read, by kind.

    Parameters
    ----------
    name : str
        Dataset name of any kind, or any text.
    path : str
        Where folder or archives are, if known; by default the path in the name.
    beside : str, optional
        As in :func:`open`.

    Returns
    -------
    dict of str to int
        Empty for other kinds, and where folder or archives are not at hand.
    """
    dataset = DatasetName.parse(name).base.at(path) if is_dataset_name(name) else None
    if dataset is not None and dataset.kind == "folder":
        return skipped_below(Path(dataset.path).expanduser())
    if dataset is not None and dataset.kind in (*LISTED, "imagenet"):
        with suppress(InputError):
            return _open(dataset, Decoding(), beside).skipped
    return {}


def left_out(store: FeatureStore) -> int | None:
    """Images of a store's ``imagenet:`` dataset that are not read, as they have no class.

    None where the dataset is not at hand.
    """
    try:
        return open_of(store).skipped.get(LEFT_OUT, 0)
    except InputError:
        return None


def _open(name: DatasetName, decoding: Decoding, beside: str | None) -> Dataset:
    if name.of is not None:
        return open_view(name, _open(name.of, decoding, beside))
    more: tuple = (beside,) if name.kind in LISTED else ()
    if name.kind == "imagenet":
        more = (decoding,)
    return replace(KINDS[name.kind](name, *more), decoding=decoding)


def _bundled(name: str) -> Callable[[DatasetName], Dataset]:
    if name not in BUNDLED:
        near = get_close_matches(name, BUNDLED, n=1, cutoff=0.5)
        guess = f" (did you mean bundled:{near[0]}?)" if near else ""
        raise InputError(
            f"no bundled dataset {name!r}{guess}; there are: "
            + ", ".join(f"bundled:{b}" for b in BUNDLED)
        )
    return BUNDLED[name]
