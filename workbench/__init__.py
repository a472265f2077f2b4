"""Models, datasets, extraction, figures and commands.

``workbench.load`` gives a frozen model at several scales, ``workbench.explore`` a page of tokens:

>>> import workbench
>>> s2 = workbench.load("bundled:efficientnet_lite0", scales=("1x", "2x"))   # doctest: +SKIP
>>> s2("photo.jpg").map.shape                                                # doctest: +SKIP
torch.Size([1, 7, 7, 640])
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {"explore": "workbench.pictures.notebook", "load": "workbench.multiscale.module"}


def __getattr__(name: str) -> Any:
    """Import on first use: torch, behind all of them, takes seconds to import."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
