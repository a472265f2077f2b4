"""Datasets by name: ordered image ids, labels and a reader for one image."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from feature_store.errors import InputError
from workbench.datasets.base import Dataset
from workbench.datasets.bundled.photos import open_photos
from workbench.datasets.bundled.scenes import open_scenes
from workbench.datasets.bundled.stereo import open_stereo
from workbench.datasets.bundled.textiles import open_textiles
from workbench.datasets.decode import DecodeError
from workbench.datasets.folder import open_folder
from workbench.datasets.hub import open_hub
from workbench.datasets.table import open_csv
from workbench.datasets.torchvision_data import open_torchvision
from workbench.datasets.views import open_view

__all__ = ["BUNDLED", "FORMS", "Dataset", "DecodeError", "open"]

BUNDLED: dict[str, Callable[[str, str], Dataset]] = {
    "textiles": open_textiles,
    "photos": open_photos,
    "scenes": open_scenes,
    "stereo": open_stereo,
}

KINDS: dict[str, Callable[[str, str], Dataset]] = {
    "folder": open_folder,
    "csv": open_csv,
    "torchvision": open_torchvision,
    "hf": open_hub,
}

FORMS = (
    "folder:DIR",
    "csv:FILE",
    "torchvision:NAME:SPLIT:ROOT",
    "hf:NAME:SPLIT",
    *(f"bundled:{b}[:train|:test]" for b in BUNDLED),
    "view:K:NAME",
)


def open(name: str, *, limit: int | None = None) -> Dataset:
    """The dataset of that name; no image is decoded yet.

    Parameters
    ----------
    name : str
        One of ``folder:DIR``, ``csv:FILE``, ``torchvision:NAME:SPLIT:ROOT``, ``hf:NAME:SPLIT``,
        ``bundled:NAME[:train|:test]``, or ``view:K:`` and one of these.
    limit : int, optional
        Keep the first ``limit`` images. For bundled datasets these are a fair sample.

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
    kind, colon, rest = name.partition(":")
    if kind == "bundled":
        return _open_bundled(rest, name).take(limit)
    if kind == "view":
        return open_view(rest, name, open).take(limit)
    if not colon or kind not in KINDS:
        raise InputError(f"no dataset {name!r}{_hint(name)}; write one of: {', '.join(FORMS)}")
    return KINDS[kind](rest, name).take(limit)


def _open_bundled(rest: str, name: str) -> Dataset:
    which, _, split = rest.partition(":")
    if which not in BUNDLED:
        near = get_close_matches(which, BUNDLED, n=1, cutoff=0.5)
        guess = f" (did you mean bundled:{near[0]}?)" if near else ""
        raise InputError(
            f"no bundled dataset {which!r}{guess}; there are: "
            + ", ".join(f"bundled:{b}" for b in BUNDLED)
        )
    return BUNDLED[which](split, name)


def _hint(name: str) -> str:
    """A guess at what was meant, or nothing."""
    from pathlib import Path

    if Path(name).expanduser().is_dir():
        return f" (a folder of that name exists: folder:{name})"
    if Path(name).expanduser().is_file():
        return f" (a file of that name exists: csv:{name} reads a table of image paths)"
    kind, _, rest = name.partition(":")
    near = get_close_matches(kind, [*KINDS, "bundled", "view"], n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]}:{rest or '...'}?)"
    return ""
