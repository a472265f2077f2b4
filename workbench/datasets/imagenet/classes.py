"""ImageNet-1k's classes and labels of its test sets, as the installed timm lists them."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def synsets() -> tuple[str, ...]:
    """The 1,000 WordNet IDs in class order, such as ``n01440764``."""
    return tuple(_listed("imagenet_synsets.txt").split())


@cache
def synsets_of(test_set: str) -> tuple[str, ...]:
    """The 200 WordNet IDs of ImageNet-A (``a``) or -R (``r``), in class order."""
    return tuple(_listed(f"imagenet_{test_set}_synsets.txt").split())


def real_labels() -> list[list[int]]:
    """ReaL: the class numbers of each validation image, in the order of the files' names.

    Source: Beyer et al. (2020), arXiv 2006.07159; ``real.json`` as published.
    """
    return json.loads(_listed("imagenet_real_labels.json"))


def _listed(name: str) -> str:
    found = find_spec("timm")  # without an import of timm, which takes 2 s
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("data").joinpath("_info", name).read_text(encoding="utf-8")
