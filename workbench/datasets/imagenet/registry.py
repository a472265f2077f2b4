"""``imagenet:NAME:ROOT``: test sets for classifiers of ImageNet-1k, unpacked on this disk.

Class names are WordNet IDs, as in the folders of ImageNet's training images; a name of several,
joined by ``|``, is that of images of which any of these classes is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.base import Dataset
from workbench.datasets.decode import Decoding
from workbench.datasets.imagenet.layouts import a, r, real, v2
from workbench.datasets.imagenet.objectnet import objectnet

LAYOUTS: dict[str, Callable[[Path, Decoding], Dataset]] = {
    "real": lambda root, decoding: real(root),
    "v2": lambda root, decoding: v2(root),
    "r": lambda root, decoding: r(root),
    "a": lambda root, decoding: a(root),
    "objectnet": objectnet,
}
"""Name to what reads its layout."""


def open_imagenet(name: DatasetName, decoding: Decoding) -> Dataset:
    """A test set; nothing is fetched.

    Raises
    ------
    InputError
        A name that is not known, or files that do not lie as published.
    """
    if name.name not in LAYOUTS:
        raise InputError(
            f"no test set {name.name!r} of ImageNet; known: {', '.join(LAYOUTS)}; its validation "
            "images are folder:DIR"
        )
    found = LAYOUTS[name.name](Path(name.path).expanduser(), decoding)
    return replace(found, name=str(name))
