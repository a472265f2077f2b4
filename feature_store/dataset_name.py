"""Names of datasets: ``KIND:...``, such as ``folder:photos/train`` or ``view:1:bundled:textiles``.

A store records the name of its dataset. Names recorded by other programs may be any text, so the
functions of this module leave text alone that is not a dataset name; :meth:`DatasetName.parse`
refuses it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from feature_store.errors import InputError

FORMS = {
    "folder": "folder:DIR",
    "csv": "csv:FILE",
    "torchvision": "torchvision:NAME:SPLIT:ROOT",
    "maps": "maps:NAME:SPLIT:ROOT",
    "imagenet": "imagenet:NAME:ROOT",
    "hf": "hf:NAME:SPLIT",
    "wds": "wds:URLS",
    "tar": "tar:FILE",
    "zip": "zip:FILE",
    "parquet": "parquet:FILES",
    "hfdisk": "hfdisk:DIR",
    "lmdb": "lmdb:DIR",
    "lerobot": "lerobot:DIR[#CAMERA]",
    "bundled": "bundled:NAME[:train|:test]",
    "view": "view:K:NAME",
}
"""Kind of dataset → form of its names."""
ARCHIVES = ("wds", "tar", "zip", "parquet", "hfdisk", "lmdb")
"""Kinds whose images lie together in files: shards, archives, tables and databases."""
ONE_FILE = ("zip", "hfdisk", "lmdb")
"""Archive kinds that name one local file or folder."""
PATHS = ("folder", "csv", *ARCHIVES, "lerobot")
"""Kinds whose names are a path behind the kind; wds: takes URLs too, and both braces."""
NAMED = ("torchvision", "maps")
"""Kinds whose names are a name, a split and a path."""
LOCATED = (*PATHS, *NAMED, "imagenet")
"""Kinds whose names contain a path."""
EITHER = "|"
"""Between the classes in a class name of an ``imagenet:`` dataset: any of them is right."""


@dataclass(frozen=True, kw_only=True)
class DatasetName:
    """A dataset name taken apart; ``str(name)`` is the inverse of :meth:`parse`.

    Parts that a kind does not have are empty.

    Examples
    --------
    >>> name = DatasetName.parse("view:2:bundled:textiles:train")
    >>> name.view, name.base.name, name.base.split, str(name)
    (2, 'textiles', 'train', 'view:2:bundled:textiles:train')
    """

    kind: str
    """One of ``FORMS``."""
    view: int = 0
    """Number of a view, from 1."""
    of: DatasetName | None = None
    """The dataset that a view is of."""
    name: str = ""
    """Name in a library, on a hub, or of a bundled dataset."""
    split: str = ""
    """Part of a named dataset, such as ``train``."""
    path: str = ""
    """Folder, table or archives as given, or the folder of a named dataset."""

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Inverse of ``str``.

        Raises
        ------
        InputError
            Unknown kind (the nearest kind and all forms are listed), or a part is missing.
        """
        kind, _, rest = text.partition(":")
        if not is_dataset_name(text):
            forms = ", ".join(FORMS.values())
            raise InputError(f"no dataset {text!r}{_hint(text)}; write one of: {forms}")
        parts: dict[str, Any] = {"path": rest}
        if kind == "bundled":
            name, _, split = rest.partition(":")
            return cls(kind=kind, name=name, split=split)
        if kind in NAMED:
            name, split, path = (*rest.split(":", 2), "", "")[:3]
            parts = {"name": name, "split": split, "path": path}
        elif kind == "imagenet":
            name, _, path = rest.partition(":")
            parts = {"name": name, "path": path}
        elif kind == "hf":
            name, _, split = rest.rpartition(":")
            parts = {"name": name, "split": split}
        elif kind == "view":
            number, _, below = rest.partition(":")
            view = int(number) if number.isdecimal() else 0
            parts = {"view": view, "of": cls.parse(below) if view and below else None}
        if not all(parts.values()):
            raise InputError(f"found {text!r}; write {FORMS[kind]}")
        return cls(kind=kind, **parts)

    def __str__(self) -> str:
        return ":".join(str(part) for part in vars(self).values() if part)

    @property
    def base(self) -> DatasetName:
        """The dataset that a view, or a view of a view, is of; any other dataset itself."""
        return self.of.base if self.of else self

    @property
    def collection(self) -> str:
        """Where the dataset's image ids are valid; see :func:`collection`."""
        base = self.base
        if base.kind == "bundled":
            return f"bundled:{base.name}"
        if base.kind not in (*PATHS, "maps", "imagenet"):
            return str(base)
        path = _absolute(base.path)
        if base.kind == "maps":  # its ids are paths or numbers below the folder, whatever the split
            return f"maps:{base.name}:{path}"
        return "files:" + (os.path.dirname(path) if base.kind == "csv" else path)

    @property
    def resolved_path(self) -> str:
        """Absolute path of the images or their table, without links in it; empty if none is named.

        A table that is a link keeps its own folder, from which its paths begin. URLs stay.
        """
        base = self.base
        if base.kind not in LOCATED:
            return ""
        path = _absolute(base.path)
        if base.kind == "csv":
            return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return path if "://" in path else os.path.realpath(path)

    def resolved(self) -> DatasetName:
        """The same name with :attr:`resolved_path`, so that one folder has one name."""
        return self.at(self.resolved_path)

    def at(self, path: str) -> DatasetName:
        """The same name with another path; unchanged if it has no path, or `path` is empty."""
        if self.of is not None:
            return replace(self, of=self.of.at(path))
        return replace(self, path=path) if path and self.kind in LOCATED else self


def is_dataset_name(text: str) -> bool:
    """Whether a text begins like a dataset name rather than like a store's path or URL.

    Examples
    --------
    >>> is_dataset_name("zip:photos.zip"), is_dataset_name("zip:///stores/train.zip")
    (True, False)
    """
    kind, colon, rest = text.partition(":")
    is_url = kind == "zip" and rest.startswith("//")  # a store in an archive
    return bool(colon) and kind in FORMS and not is_url


def collection(text: str) -> str:
    """Where a dataset's image ids are valid.

    The folder of its files; the name without its split; or for ``maps:`` the name and its folder.

    Examples
    --------
    >>> collection("view:2:bundled:textiles:train")
    'bundled:textiles'
    >>> collection("csv:/data/test.csv") == collection("folder:/data")
    True
    """
    name = _parsed(text)
    return name.collection if name else text


def family(text: str) -> str:
    """Common name of the splits of one dataset, or the folder that they lie in.

    Examples
    --------
    >>> family("folder:/data/cats/train") == family("csv:/data/cats/test.csv")
    True
    >>> family("bundled:textiles:train") == family("bundled:photos:test")
    False
    """
    name = _parsed(text)
    if name is None:
        return text.partition(":")[0]
    base = name.base
    return (
        os.path.dirname(_absolute(base.path)) if base.kind in PATHS else f"{base.kind}:{base.name}"
    )


def canonical(text: str) -> str:
    """The dataset name with a path in it made absolute, so that one folder has one name."""
    name = _parsed(text)
    return str(name.resolved()) if name else text


def path_of(text: str) -> str:
    """Resolved path of a dataset's folder or table; empty for a dataset without one."""
    name = _parsed(text)
    return name.resolved_path if name else ""


def at(text: str, path: str) -> str:
    """The dataset name with another path; unchanged where it has none, or `path` is empty.

    Examples
    --------
    >>> at("view:1:folder:photos", "/data/photos")
    'view:1:folder:/data/photos'
    """
    name = _parsed(text)
    return str(name.at(path)) if name else text


def base(text: str) -> str:
    """The dataset that a view is of; any other dataset itself.

    Examples
    --------
    >>> base("view:1:folder:photos")
    'folder:photos'
    """
    name = _parsed(text)
    return str(name.base) if name else text


def view_name(number: int, text: str) -> str:
    """The name of a view of a dataset; its inverse is :func:`base`."""
    return f"view:{number}:{text}"


def is_on_hub(text: str) -> bool:
    """Whether listing the dataset may fetch it from a hub."""
    name = _parsed(text)
    return name is not None and name.base.kind == "hf"


def is_imagenet_test(text: str) -> bool:
    """Whether its class names are ImageNet's WordNet IDs, alone or several with `EITHER`."""
    name = _parsed(text)
    return name is not None and name.base.kind == "imagenet"


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _parsed(text: str) -> DatasetName | None:
    try:
        return DatasetName.parse(text)
    except InputError:
        return None


def _hint(text: str) -> str:
    """A guess at what was meant, or nothing."""
    if os.path.isdir(os.path.expanduser(text)):
        return f" (a folder of that name exists: folder:{text})"
    if os.path.isfile(os.path.expanduser(text)):
        kind = os.path.splitext(text)[1][1:].lower()
        if kind in FORMS:
            return f" (a file of that name exists: {kind}:{text} reads its images)"
        return f" (a file of that name exists: csv:{text} reads a table of image paths)"
    kind, _, rest = text.partition(":")
    near = get_close_matches(kind, FORMS, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}:{rest or '...'}?)" if near else ""
