"""Libraries that only some kinds of datasets and exports need: the extra ``archives``."""

from __future__ import annotations

import importlib
from typing import Any

from feature_store.errors import InputError


def library(module: str, what: str) -> Any:
    """The module, imported now.

    Raises
    ------
    InputError
        It is not installed; the message names `what` needs it and the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise InputError(
            f"{what} needs the library {package!r}, which is not installed; run "
            f"'bash scripts/setup.sh archives' in the clone"
        ) from None
